#include "launcher/link_terms.h"

#include "launcher/link.h"

#include <assert.h>
#include <string.h>

enum { UNKNOWN = -1 };

static int place_of(const char *const *own, const char *name) {
    for (int i = 0; own[i] != NULL; i++) {
        assert(i < LINK_CAPABILITIES_MAX);
        if (strcmp(own[i], name) == 0)
            return i;
    }
    return UNKNOWN;
}

json_t *link_terms_offer(const char *const *own) {
    json_t *names = json_array();
    for (; *own != NULL; own++)
        json_array_append_new(names, json_string(*own));
    return json_pack("{s:i, s:o}", "version", LINK_VERSION, "capabilities", names);
}

int link_terms_settle(const json_t *said, const char *const *own, struct link_terms *ret,
                      struct error *err) {
    const json_t *version = json_object_get(said, "version");
    const json_t *names = json_object_get(said, "capabilities");
    if (!json_is_integer(version) || json_integer_value(version) < 1)
        return error_set(err, ERROR_INVALID, "version: must be a whole number from 1 on");
    if (names != NULL && !json_is_null(names) && !json_is_array(names))
        return error_set(err, ERROR_INVALID, "capabilities: must be an array of texts");
    struct link_terms terms = {.version = LINK_VERSION};
    if (json_integer_value(version) < LINK_VERSION)
        terms.version = (int)json_integer_value(version);
    size_t i;
    const json_t *name;
    json_array_foreach(names, i, name) {
        int place = json_is_string(name) ? place_of(own, json_string_value(name)) : UNKNOWN;
        if (place != UNKNOWN)
            terms.capabilities |= UINT32_C(1) << place;
    }
    *ret = terms;
    return 0;
}

bool link_terms_have(const struct link_terms *terms, const char *const *own, const char *name) {
    int place = place_of(own, name);
    assert(place != UNKNOWN); /* a name that our own side does not offer can never be settled */
    return terms->capabilities >> place & 1;
}
