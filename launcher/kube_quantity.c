#include "launcher/kube_quantity.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    double factor;
} suffixes[] = {
    {"", 1},
    {"n", 1e-9},
    {"u", 1e-6},
    {"m", 1e-3},
    {"k", 1e3},
    {"M", 1e6},
    {"G", 1e9},
    {"T", 1e12},
    {"P", 1e15},
    {"E", 1e18},
    {"Ki", 1024.0},
    {"Mi", 1048576.0},
    {"Gi", 1073741824.0},
    {"Ti", 1099511627776.0},
    {"Pi", 1125899906842624.0},
    {"Ei", 1152921504606846976.0},
};

static bool find_factor(const char *suffix, double *ret) {
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (strcmp(suffixes[i].name, suffix) == 0) {
            *ret = suffixes[i].factor;
            return true;
        }
    /* An exponent: "e3", "E-2". */
    if (*suffix != 'e' && *suffix != 'E')
        return false;
    const char *digits = suffix + 1 + (suffix[1] == '+' || suffix[1] == '-');
    size_t length = strspn(digits, "0123456789");
    if (length == 0 || length > 2 || digits[length] != '\0')
        return false;
    *ret = 1;
    for (int i = atoi(digits); i > 0; i--)
        *ret *= suffix[1] == '-' ? 0.1 : 10;
    return true;
}

int kube_quantity_parse(const char *text, const char *what, double *ret, struct error *err) {
    const char *number = text + (*text == '+');
    size_t whole = strspn(number, "0123456789");
    const char *end = number + whole;
    size_t fraction = *end == '.' ? strspn(end + 1, "0123456789") : 0;
    if (*end == '.')
        end += 1 + fraction;
    double factor = 0;
    if (whole + fraction == 0 || whole > 18 || !find_factor(end, &factor))
        return error_set(err, ERROR_INVALID,
                         "%s: \"%.64s\" must be an amount such as 2, 0.5, 500m, 512Mi or 4Gi", what,
                         text);
    if (ret != NULL) {
        /* Its digits alone: strtod would read the exponent too. */
        cleanup_free char *digits = memory_strndup(number, (size_t)(end - number));
        *ret = strtod(digits, NULL) * factor;
    }
    return 0;
}
