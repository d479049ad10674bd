#include "gateway/kernel_ends.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "gateway/notes.h"

#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/kernel_ends"

enum { NOTES_MAX = 4096, REASON_MAX_BYTES = 1024, BY_ANOTHER_MS = 60000 };
#define HEIR_MS (INT64_C(30) * 86400 * 1000) /* longer ago is no news */

struct kernel_ends {
    struct notes *reasons, *heirs; /* NULL: nothing is kept */
    char *told;
};

static int open_notes(const char *directory, const char *name, struct notes **ret,
                      struct error *err) {
    cleanup_free char *path = memory_printf("%s/%s", directory, name);
    return notes_create(path, NOTES_MAX, ret, err);
}

int kernel_ends_create(const char *directory, struct kernel_ends **ret, struct error *err) {
    struct kernel_ends *ends = memory_alloc(sizeof *ends);
    if (directory != NULL && (open_notes(directory, "ended", &ends->reasons, err) < 0 ||
                              open_notes(directory, "heirs", &ends->heirs, err) < 0)) {
        kernel_ends_destroy(ends);
        return -1;
    }
    *ret = ends;
    return 0;
}

void kernel_ends_destroy(struct kernel_ends *ends) {
    if (ends == NULL)
        return;
    notes_destroy(ends->reasons);
    notes_destroy(ends->heirs);
    free(ends->told);
    free(ends);
}

/* By the wall clock, since gateways come and go; one that was set back makes nothing older. */
static int64_t age_of(const json_t *note) {
    int64_t age_ms = clock_wall_us() / 1000 - json_integer_value(json_object_get(note, "at_ms"));
    return age_ms > 0 ? age_ms : 0;
}

static json_t *make_note(const char *text, const char *owner) {
    size_t length = utf8_floor(text, strlen(text), REASON_MAX_BYTES);
    return json_pack("{s:s%, s:s?, s:I}", "text", text, length, "owner", owner, "at_ms",
                     (json_int_t)(clock_wall_us() / 1000));
}

static void put(struct notes *notes, const char *key, json_t *note) {
    struct error err;
    if (note == NULL || notes_put(notes, key, note, &err) == 0)
        return;
    log_warning("why a kernel ended will not be told: %s", err.text);
}

/* Of gateways that only see that a kernel has ended: a place of their own, since the one that ended
 * it writes at the same time, and knows better. */
static char *key_aside(const char *kernel_id) {
    return memory_printf("%s\n", kernel_id);
}

void kernel_ends_bury(struct kernel_ends *ends, const char *kernel_id, const char *owner,
                      const char *reason, bool by_another) {
    if (ends->reasons == NULL)
        return;
    cleanup_free char *aside = key_aside(kernel_id);
    cleanup_json json_t *known = by_another ? notes_get(ends->reasons, kernel_id) : NULL;
    if (known == NULL || age_of(known) > BY_ANOTHER_MS)
        put(ends->reasons, by_another ? aside : kernel_id, make_note(reason, owner));
}

/* What was said aside counts where nothing else was said of the same end. */
static json_t *reason_of(const struct kernel_ends *ends, const char *kernel_id) {
    cleanup_free char *aside = key_aside(kernel_id);
    cleanup_json json_t *own = notes_get(ends->reasons, kernel_id);
    cleanup_json json_t *other = notes_get(ends->reasons, aside);
    bool is_later = own == NULL || (other != NULL && age_of(other) + BY_ANOTHER_MS < age_of(own));
    return is_later ? steal(&other) : steal(&own);
}

const char *kernel_ends_reason(struct kernel_ends *ends, const char *kernel_id,
                               const struct auth_identity *identity, int64_t retention_ms) {
    if (ends->reasons == NULL)
        return NULL;
    cleanup_json json_t *note = reason_of(ends, kernel_id);
    const char *owner = json_string_value(json_object_get(note, "owner"));
    const char *text = json_string_value(json_object_get(note, "text"));
    if (text == NULL || owner == NULL || !auth_may_use(identity, owner) ||
        age_of(note) > retention_ms)
        return NULL;
    free(ends->told);
    ends->told = memory_strdup(text);
    return ends->told;
}

/* These are texts of clients: the lengths tell where each of them ends. */
static char *heir_key(const struct kernel_heir *heir) {
    return memory_printf("%zu %zu %s %s %s", strlen(heir->user), strlen(heir->spec), heir->user,
                         heir->spec, heir->directory);
}

static char *told_key(const struct kernel_heir *heir, const char *text) {
    cleanup_free char *key = heir_key(heir);
    return memory_printf("told %zu %s %s", strlen(key), key, text);
}

static bool was_told(const struct kernel_ends *ends, const struct kernel_heir *heir,
                     const char *text) {
    cleanup_free char *key = told_key(heir, text);
    cleanup_json json_t *note = notes_get(ends->heirs, key);
    return note != NULL;
}

static void note_told(struct kernel_ends *ends, const struct kernel_heir *heir, const char *text) {
    cleanup_free char *key = told_key(heir, text);
    put(ends->heirs, key, make_note("", NULL));
}

static void bequeath(struct kernel_ends *ends, const struct kernel_heir *heir, const char *text,
                     const char *from, const char *instead_of) {
    cleanup_free char *key = heir_key(heir);
    if (ends->heirs == NULL || was_told(ends, heir, text))
        return;
    json_t *note = make_note(text, NULL);
    if (from != NULL)
        json_object_set_new(note, "from", json_string(from));
    if (instead_of != NULL)
        json_object_set_new(note, "instead_of", json_string(instead_of));
    put(ends->heirs, key, note);
}

void kernel_ends_bequeath(struct kernel_ends *ends, const struct kernel_heir *heir,
                          const char *text, const char *from) {
    bequeath(ends, heir, text, from, NULL);
}

void kernel_ends_told(struct kernel_ends *ends, const struct kernel_heir *heir, const char *text) {
    if (ends->heirs == NULL)
        return;
    cleanup_free char *key = heir_key(heir);
    cleanup_json json_t *note = notes_get(ends->heirs, key);
    const char *known = json_string_value(json_object_get(note, "text"));
    if (known != NULL && strcmp(known, text) == 0)
        json_decref(notes_take(ends->heirs, key));
    note_told(ends, heir, text);
}

void kernel_ends_return(struct kernel_ends *ends, const struct kernel_heir *heir,
                        const json_t *inherited, const char *kernel_id) {
    const char *text = json_string_value(json_object_get(inherited, "text"));
    if (ends->heirs == NULL || text == NULL)
        return;
    cleanup_free char *key = heir_key(heir), *told = told_key(heir, text);
    cleanup_json json_t *newer = notes_get(ends->heirs, key);
    json_decref(notes_take(ends->heirs, told));
    if (newer == NULL)
        bequeath(ends, heir, text, json_string_value(json_object_get(inherited, "from")),
                 kernel_id);
}

json_t *kernel_ends_inherit(struct kernel_ends *ends, const struct kernel_heir *heir) {
    if (ends->heirs == NULL)
        return NULL;
    cleanup_free char *key = heir_key(heir);
    cleanup_json json_t *note = notes_take(ends->heirs, key);
    const char *text = json_string_value(json_object_get(note, "text"));
    if (text == NULL || age_of(note) > HEIR_MS)
        return NULL;
    note_told(ends, heir, text);
    return json_pack("{s:s, s:O*, s:O*}", "text", text, "from", json_object_get(note, "from"),
                     "instead_of", json_object_get(note, "instead_of"));
}
