#include "kernelspecs/json_place.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

struct scan {
    const char *text;
    size_t length;
    size_t at;
};

static char look(struct scan *scan) {
    while (scan->at < scan->length && strchr(" \t\r\n", scan->text[scan->at]) != NULL)
        scan->at++;
    return scan->at < scan->length ? scan->text[scan->at] : '\0';
}

static void skip_text(struct scan *scan) {
    for (scan->at++; scan->at < scan->length && scan->text[scan->at] != '"'; scan->at++)
        if (scan->text[scan->at] == '\\')
            scan->at++;
    scan->at++;
}

/* A whole value; nesting is counted, not recursed into. */
static void skip_value(struct scan *scan) {
    size_t depth = 0;
    do {
        char c = look(scan);
        if (c == '"') {
            skip_text(scan);
        } else if (c == '{' || c == '[') {
            depth++;
            scan->at++;
        } else if (c == '}' || c == ']') {
            depth--;
            scan->at++;
        } else if (c == ',' || c == ':') {
            scan->at++;
        } else {
            while (scan->at < scan->length && strchr(",:]} \t\r\n", scan->text[scan->at]) == NULL)
                scan->at++;
        }
    } while (depth > 0 && scan->at < scan->length);
}

/* Does the quoted text from `start` to `end` say `key`? Escapes are jansson's to undo. */
static bool is_key(const char *start, const char *end, const char *key) {
    json_t *text = json_loadb(start, (size_t)(end - start), JSON_DECODE_ANY, NULL);
    bool same = json_is_string(text) && strcmp(json_string_value(text), key) == 0;
    json_decref(text);
    return same;
}

/* Into the object at the scan's place: true with the scan at the member's value and *ret at its
 * key. */
static bool enter_member(struct scan *scan, const char *key, size_t *ret) {
    size_t value = 0;
    scan->at++;
    while (look(scan) == '"') {
        size_t start = scan->at;
        skip_text(scan);
        bool wanted = is_key(scan->text + start, scan->text + scan->at, key);
        look(scan);
        scan->at++; /* the colon */
        look(scan);
        if (wanted) {
            *ret = start;
            value = scan->at;
        }
        skip_value(scan);
        if (look(scan) == ',')
            scan->at++;
    }
    scan->at = value;
    return value > 0;
}

static bool enter_element(struct scan *scan, size_t index, size_t *ret) {
    scan->at++;
    for (; index > 0 && look(scan) != ']' && scan->at < scan->length; index--) {
        skip_value(scan);
        if (look(scan) == ',')
            scan->at++;
    }
    char c = look(scan);
    *ret = scan->at;
    return c != ']' && c != '\0';
}

size_t json_place_line(const char *text, size_t length, const struct json_step *steps,
                       size_t count) {
    struct scan scan = {text, length, 0};
    look(&scan);
    size_t place = scan.at;
    for (size_t i = 0; i < count; i++) {
        char open = look(&scan);
        bool found = steps[i].key != NULL
                         ? open == '{' && enter_member(&scan, steps[i].key, &place)
                         : open == '[' && enter_element(&scan, steps[i].index, &place);
        if (!found)
            return 0;
    }
    size_t line = 1;
    for (size_t i = 0; i < place && i < length; i++)
        line += text[i] == '\n';
    return line;
}
