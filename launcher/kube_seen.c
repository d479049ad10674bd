#include "launcher/kube_seen.h"

#include "base/cleanup.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdint.h>
#include <string.h>

struct entry {
    uint64_t version; /* hash of the resourceVersion, which only means something to the server */
    unsigned round;
    char uid[];
};

struct kube_seen {
    struct map *entries; /* by "namespace/name" */
    unsigned round;
};

struct identity {
    const char *name, *namespace, *uid, *version;
};

struct kube_seen *kube_seen_create(void) {
    struct kube_seen *seen = memory_alloc(sizeof *seen);
    seen->entries = map_create();
    return seen;
}

void kube_seen_destroy(struct kube_seen *seen) {
    if (seen == NULL)
        return;
    size_t at = 0;
    void *entry;
    while (map_next(seen->entries, &at, NULL, &entry))
        free(entry);
    map_destroy(seen->entries);
    free(seen);
}

size_t kube_seen_count(const struct kube_seen *seen) {
    return map_count(seen->entries);
}

void kube_seen_begin(struct kube_seen *seen) {
    seen->round++;
}

static bool identify(const json_t *object, struct identity *ret) {
    const json_t *metadata = json_object_get(object, "metadata");
    const char *namespace = json_string_value(json_object_get(metadata, "namespace"));
    *ret = (struct identity){
        .name = json_string_value(json_object_get(metadata, "name")),
        .namespace = namespace != NULL ? namespace : "", /* of a Node and its like */
        .uid = json_string_value(json_object_get(metadata, "uid")),
        .version = json_string_value(json_object_get(metadata, "resourceVersion")),
    };
    return ret->name != NULL && ret->uid != NULL && ret->version != NULL;
}

static json_t *describe(const char *key, const char *uid) {
    const char *slash = strchr(key, '/'); /* namespaces have none */
    if (slash == key)
        return json_pack("{s:{s:s, s:s}}", "metadata", "name", slash + 1, "uid", uid);
    return json_pack("{s:{s:s, s:s%, s:s}}", "metadata", "name", slash + 1, "namespace", key,
                     (size_t)(slash - key), "uid", uid);
}

json_t *kube_seen_sweep(struct kube_seen *seen) {
    json_t *gone = json_array();
    size_t at = 0;
    const char *key;
    void *value;
    while (map_next(seen->entries, &at, &key, &value)) {
        struct entry *entry = value;
        if (entry->round == seen->round)
            continue;
        json_array_append_new(gone, describe(key, entry->uid));
        map_remove(seen->entries, key);
        free(entry);
    }
    return gone;
}

static struct entry *new_entry(const char *uid) {
    size_t size = strlen(uid) + 1;
    struct entry *entry = memory_alloc(sizeof *entry + size);
    memcpy(entry->uid, uid, size);
    return entry;
}

enum kube_novelty kube_seen_note(struct kube_seen *seen, const json_t *object, json_t **replaced) {
    struct identity identity;
    if (!identify(object, &identity))
        return KUBE_SEEN_NONSENSE;
    cleanup_free char *key = memory_printf("%s/%s", identity.namespace, identity.name);
    struct entry *entry = map_get(seen->entries, key);
    uint64_t version = text_hash(identity.version);
    enum kube_novelty novelty = KUBE_SEEN_SAME;
    if (entry == NULL)
        novelty = KUBE_SEEN_NEW;
    else if (strcmp(entry->uid, identity.uid) != 0)
        novelty = KUBE_SEEN_REPLACED;
    else if (entry->version != version)
        novelty = KUBE_SEEN_CHANGED;
    if (novelty == KUBE_SEEN_REPLACED) {
        *replaced = describe(key, entry->uid);
        free(entry);
    }
    if (novelty == KUBE_SEEN_NEW || novelty == KUBE_SEEN_REPLACED) {
        entry = new_entry(identity.uid);
        map_put(seen->entries, key, entry);
    }
    entry->version = version;
    entry->round = seen->round;
    return novelty;
}

bool kube_seen_forget(struct kube_seen *seen, const json_t *object) {
    struct identity identity;
    if (!identify(object, &identity))
        return false;
    cleanup_free char *key = memory_printf("%s/%s", identity.namespace, identity.name);
    struct entry *entry = map_get(seen->entries, key);
    if (entry == NULL || strcmp(entry->uid, identity.uid) != 0)
        return false; /* another one has its name by now */
    map_remove(seen->entries, key);
    free(entry);
    return true;
}
