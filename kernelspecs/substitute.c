#include "kernelspecs/substitute.h"

#include "base/buffer.h"
#include "base/memory.h"

#include <string.h>

/* Linux refuses an argument or variable beyond 128 KiB anyway; this only stops a text from
 * multiplying in memory. */
enum { OUTCOME_MAX = 1 << 20, NAME_MAX_LENGTH = 255 };

static bool is_name_start(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool is_name_part(char c) {
    return is_name_start(c) || (c >= '0' && c <= '9');
}

static size_t name_length(const char *text) {
    size_t length = 0;
    while (is_name_part(text[length]))
        length++;
    return length;
}

static const char *value_of(const json_t *values, const char *name, size_t length) {
    char key[NAME_MAX_LENGTH + 1];
    if (length == 0 || length > NAME_MAX_LENGTH)
        return NULL;
    memcpy(key, name, length);
    key[length] = '\0';
    return json_string_value(json_object_get(values, key));
}

/* The length of what stands at the start of text, at least 1, and what it is to be replaced by
 * (NULL: it stays). */
typedef size_t reference_match(const char *text, const json_t *values, const char **ret);

static size_t match_variable(const char *text, const json_t *values, const char **ret) {
    *ret = NULL;
    if (text[0] != '$')
        return strcspn(text, "$");
    if (text[1] == '$') {
        *ret = "$";
        return 2;
    }
    bool braced = text[1] == '{';
    const char *name = text + 1 + braced;
    size_t length = is_name_start(*name) ? name_length(name) : 0;
    if (length == 0 || (braced && name[length] != '}'))
        return 1; /* malformed: the sign stays, what follows it is text again */
    *ret = value_of(values, name, length);
    return length + (braced ? 3 : 1);
}

static size_t match_placeholder(const char *text, const json_t *values, const char **ret) {
    *ret = NULL;
    if (text[0] != '{')
        return strcspn(text, "{");
    size_t length = name_length(text + 1);
    if (length == 0 || text[1 + length] != '}')
        return 1;
    *ret = value_of(values, text + 1, length);
    return length + 2;
}

static char *substitute(const char *text, const json_t *values, reference_match *match) {
    cleanup_buffer struct buffer out = {.limit = OUTCOME_MAX};
    for (const char *at = text; *at != '\0';) {
        const char *value = NULL;
        size_t length = match(at, values, &value);
        int rc = value != NULL ? buffer_append_text(&out, value) : buffer_append(&out, at, length);
        if (rc < 0)
            return memory_strdup(text);
        at += length;
    }
    return memory_strndup(out.data != NULL ? (const char *)out.data : "", out.length);
}

char *substitute_variables(const char *text, const json_t *values) {
    return substitute(text, values, match_variable);
}

char *substitute_placeholders(const char *text, const json_t *values) {
    return substitute(text, values, match_placeholder);
}

/* The name in the reference at the start of text, which is `length` long; NULL: it is none. */
static const char *name_in(const char *text, size_t length, size_t *ret_length) {
    if (text[0] != '$' || length < 2 || text[1] == '$')
        return NULL;
    const char *name = text + 1 + (text[1] == '{');
    *ret_length = name_length(name);
    return name;
}

bool substitute_is_variable(const char *text) {
    const char *value;
    size_t length = match_variable(text, NULL, &value), unused;
    return *text != '\0' && text[length] == '\0' && name_in(text, length, &unused) != NULL;
}

char *substitute_find_known(const char *text, const json_t *values) {
    while (*text != '\0') {
        const char *value;
        size_t length = match_variable(text, values, &value), size = 0;
        const char *name = name_in(text, length, &size);
        if (name != NULL && value != NULL)
            return memory_strndup(name, size);
        text += length;
    }
    return NULL;
}

char *substitute_find_unknown(const char *text, const char *prefix, const json_t *values) {
    while (*text != '\0') {
        const char *value;
        size_t length = match_variable(text, values, &value), size = 0;
        const char *name = name_in(text, length, &size);
        if (name != NULL && value == NULL && size >= strlen(prefix) &&
            strncmp(name, prefix, strlen(prefix)) == 0)
            return memory_strndup(name, size);
        text += length;
    }
    return NULL;
}
