/* The option table as a JSON Schema (draft 2020-12): what editors know of the YAML file. It may let
 * through what option_load refuses, such as a size beyond its row's, but never the other way. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/option_value.h"

#include <string.h>

/* As option_value.c reads texts. */
#define NUMBER_PATTERN   "^-?[0-9]+$"
#define DURATION_PATTERN "^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)?$"
#define BYTES_PATTERN    "^[0-9]+(\\.[0-9]+)?([kKmMgGtT](i|iB)?)?$"
#define BOOL_PATTERN                                                                               \
    "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff]|0|1)$"

static json_t *text_of_pattern(const char *pattern) {
    return json_pack("{s:s, s:s}", "type", "string", "pattern", pattern);
}

/* A number in the row's unit for plain numbers, 1/scale of the field's. */
static json_t *number(const struct option_row *row, const char *type, double scale) {
    json_t *schema = json_pack("{s:s}", "type", type);
    bool unbounded = row->min == 0 && row->max == 0;
    bool whole = scale == 1;
    json_object_set_new(schema, "minimum",
                        whole ? json_integer(row->min) : json_real((double)row->min / scale));
    if (!unbounded)
        json_object_set_new(schema, "maximum",
                            whole ? json_integer(row->max) : json_real((double)row->max / scale));
    return schema;
}

static json_t *choices(const struct option_row *row) {
    json_t *list = json_array();
    for (const char *at = row->choices; *at != '\0';) {
        size_t length = strcspn(at, "|");
        json_array_append_new(list, json_stringn(at, length));
        at += length + (at[length] == '|');
    }
    return json_pack("{s:o}", "enum", list);
}

/* What a value may be, besides null. */
static json_t *forms(const struct option_row *row) {
    switch (row->type) {
    case OPTION_BOOL:
        return json_pack("[{s:s}, {s:[i, i]}, o]", "type", "boolean", "enum", 0, 1,
                         text_of_pattern(BOOL_PATTERN));
    case OPTION_INT:
        return json_pack("[o, o]", number(row, "integer", 1), text_of_pattern(NUMBER_PATTERN));
    case OPTION_DURATION:
        return json_pack("[o, o]", number(row, "number", 1000), text_of_pattern(DURATION_PATTERN));
    case OPTION_BYTES:
        return json_pack("[o, o]", number(row, "number", 1), text_of_pattern(BYTES_PATTERN));
    case OPTION_TEXT:
        return json_pack("[{s:s}]", "type", "string");
    case OPTION_ENUM:
        return json_pack("[o]", choices(row));
    case OPTION_LIST:
        return json_pack("[{s:s, s:{s:s}}, {s:s}]", "type", "array", "items", "type", "string",
                         "type", "string");
    case OPTION_MAPPING:
        return json_pack("[{s:s}, {s:s}]", "type", "object", "type", "string");
    }
    return json_array();
}

static json_t *property(const struct option_row *row) {
    json_t *may_be = forms(row);
    json_array_append_new(may_be, json_pack("{s:s}", "type", "null"));
    cleanup_buffer struct buffer takes = {.limit = 1024};
    option_value_describe(row, &takes);
    cleanup_free char *description =
        memory_printf("%s Takes %s.%s", row->help ? row->help : "", buffer_text(&takes),
                      row->flags & OPTION_RELOAD ? " Reloads." : "");
    json_t *schema = json_pack("{s:s, s:o}", "description", description, "anyOf", may_be);
    if (row->fallback != NULL && row->type != OPTION_LIST)
        json_object_set_new(schema, "default", json_string(row->fallback));
    return schema;
}

json_t *option_schema(const struct option_row *table) {
    json_t *properties = json_object();
    for (const struct option_row *row = table; row->name != NULL; row++) {
        char key[OPTION_NAME_MAX];
        option_key(row, key);
        json_object_set_new(properties, key, property(row));
    }
    return json_pack("{s:s, s:o, s:b}", "type", "object", "properties", properties,
                     "additionalProperties", 0);
}
