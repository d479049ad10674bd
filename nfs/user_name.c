#include "nfs/user_name.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"

#include <sodium.h>
#include <string.h>

enum {
    COMPONENT_MAX = 255, /* of the usual file systems */
    LABEL_MAX = 63,
    SLUG_NAME_MAX = 21, /* 32 without "---" and the hash */
    SLUG_HASH_BYTES = 4,
};

static const char alphanumeric[] = "abcdefghijklmnopqrstuvwxyz0123456789";
static const char *const scheme_names[] = {
    [USER_NAME_HUB] = "hub", [USER_NAME_SAFE_SLUG] = "safe-slug", [USER_NAME_RAW] = "raw"};

int user_name_scheme_parse(const char *text, enum user_name_scheme *ret, struct error *err) {
    for (size_t i = 0; i < sizeof scheme_names / sizeof *scheme_names; i++)
        if (strcmp(text, scheme_names[i]) == 0) {
            *ret = (enum user_name_scheme)i;
            return 0;
        }
    return error_set(err, ERROR_INVALID, "\"%.60s\" must be hub, safe-slug or raw", text);
}

static bool is_plain(char byte) {
    return byte != '\0' && strchr(alphanumeric, byte) != NULL;
}

static bool is_letter(char byte) {
    return byte >= 'a' && byte <= 'z';
}

static char *escape_hub(const char *name) {
    char *text = memory_alloc(strlen(name) * 3 + 1), *at = text;
    for (; *name != '\0'; name++)
        if (is_plain(*name))
            *at++ = *name;
        else /* escapism does not pad what is below 16 */
            at += sprintf(at, "-%x", (unsigned char)*name);
    return text;
}

static bool is_label(const char *name) {
    size_t length = strlen(name);
    return length >= 1 && length <= LABEL_MAX && is_letter(name[0]) && is_plain(name[length - 1]) &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

/* Lower case as Python has it, as far as it is ASCII: beside A-Z these are the dotted capital I and
 * the Kelvin sign. *at goes behind the character; 0: none that stays. */
static char take_lower(const char **at) {
    static const struct {
        const char *from;
        char to;
    } others[] = {{"\xc4\xb0", 'i'}, {"\xe2\x84\xaa", 'k'}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (text_starts_with(*at, others[i].from)) {
            *at += strlen(others[i].from);
            return others[i].to;
        }
    char byte = *(*at)++;
    if (byte >= 'A' && byte <= 'Z')
        byte = (char)(byte - 'A' + 'a');
    return is_plain(byte) ? byte : '\0';
}

/* "---" and the hash tell apart what the cut makes alike. */
static char *escape_slug(const char *name) {
    if (strstr(name, "--") == NULL && is_label(name))
        return memory_strdup(name);
    char safe[SLUG_NAME_MAX + 1] = "";
    size_t length = 0;
    for (const char *at = name; *at != '\0' && length < SLUG_NAME_MAX;) {
        /* the dot above of that I is one more character that does not stay */
        bool is_two = text_starts_with(at, "\xc4\xb0");
        char byte = take_lower(&at);
        if (byte != '\0')
            safe[length++] = byte;
        if ((byte == '\0' || is_two) && length > 0 && length < SLUG_NAME_MAX &&
            safe[length - 1] != '-')
            safe[length++] = '-';
    }
    while (length > 0 && safe[length - 1] == '-')
        length--;
    safe[length] = '\0';
    unsigned char hash[crypto_hash_sha256_BYTES];
    char hex[2 * SLUG_HASH_BYTES + 1];
    crypto_hash_sha256(hash, (const unsigned char *)name, strlen(name));
    text_hex(hash, SLUG_HASH_BYTES, hex);
    if (length == 0)
        return memory_printf("x---%s", hex);
    return is_letter(safe[0]) ? memory_printf("%s---%s", safe, hex)
                              : memory_printf("x-%.*s---%s", SLUG_NAME_MAX - 2, safe, hex);
}

static int check_raw(const char *name, struct error *err) {
    for (const char *at = name; *at != '\0'; at++)
        if (*at == '/' || (unsigned char)*at < ' ' || *at == 0x7f)
            return error_set(err, ERROR_INVALID,
                             "the user's name \"%.100s\" cannot be a directory's: it has %s; the "
                             "setting home-user-names: hub takes any name",
                             name, *at == '/' ? "a slash" : "a control character");
    if (*name == '.')
        return error_set(err, ERROR_INVALID,
                         "the user's name \"%.100s\" cannot be a directory's: it begins with a "
                         "dot; the setting home-user-names: hub takes any name",
                         name);
    return 0;
}

int user_name_escape(enum user_name_scheme scheme, const char *name, char **ret,
                     struct error *err) {
    cleanup_free char *text = NULL;
    if (*name == '\0')
        return error_set(err, ERROR_INVALID, "the user has no name");
    if (!utf8_is_valid(name, strlen(name)))
        return error_set(err, ERROR_INVALID, "the user's name is no UTF-8");
    if (scheme == USER_NAME_RAW && check_raw(name, err) < 0)
        return -1;
    text = scheme == USER_NAME_HUB         ? escape_hub(name)
           : scheme == USER_NAME_SAFE_SLUG ? escape_slug(name)
                                           : memory_strdup(name);
    if (strlen(text) > COMPONENT_MAX)
        return error_set(err, ERROR_INVALID,
                         "the user's name \"%.60s...\" is too long for a directory's", name);
    *ret = steal(&text);
    return 0;
}
