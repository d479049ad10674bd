#include "launcher/kube_names.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <openssl/sha.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

enum {
    NAME_MAX_LENGTH = KUBE_NAME_SIZE - 1,
    SUFFIX_MAX = KUBE_SUFFIX_SIZE - 1,
    SUFFIX_HASH = 40, /* hex digits */
    SAFE_HASH = 32,   /* "---" and these: nobody finds a second text with them */
    ID_HASH = 10,     /* tells the kernels of one wish apart */
    ATTEMPT_DIGITS = 6,
    POD_BASE_MAX = NAME_MAX_LENGTH - 1 - ATTEMPT_DIGITS,
};

static void hash_hex(const char *text, size_t digits, char *hex) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char whole[2 * SHA256_DIGEST_LENGTH + 1];
    SHA256((const uint8_t *)text, strlen(text), digest);
    text_hex(digest, sizeof digest, whole);
    memcpy(hex, whole, digits);
    hex[digits] = '\0';
}

static bool is_alnum(char c) {
    return c != '\0' && strchr(LOWER UPPER DIGIT, c) != NULL;
}

/* All of `allowed`, letters or digits at both ends, 1..max. */
static bool is_made_of(const char *text, const char *allowed, size_t max) {
    size_t length = strlen(text);
    return length > 0 && length <= max && text[strspn(text, allowed)] == '\0' &&
           is_alnum(text[0]) && is_alnum(text[length - 1]);
}

bool kube_is_dns_label(const char *text) {
    return is_made_of(text, LOWER DIGIT "-", NAME_MAX_LENGTH);
}

bool kube_is_dns_subdomain(const char *text) {
    return is_made_of(text, LOWER DIGIT "-.", 253) && strstr(text, "..") == NULL &&
           strstr(text, ".-") == NULL && strstr(text, "-.") == NULL;
}

bool kube_is_label_value(const char *text) {
    return *text == '\0' || is_made_of(text, LOWER UPPER DIGIT "-_.", NAME_MAX_LENGTH);
}

/* The characters of text that are kept, one "-" for each run of others, none at the ends; at most
 * max. */
static void slug(const char *text, const char *kept, bool in_lower_case, size_t max, char *out) {
    size_t length = 0;
    bool gap = false;
    for (; *text != '\0' && length + gap < max; text++) {
        char c = *text;
        if (in_lower_case && c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (strchr(kept, c) == NULL || (length == 0 && !is_alnum(c))) {
            gap = length > 0;
            continue;
        }
        if (gap)
            out[length++] = '-';
        gap = false;
        out[length++] = c;
    }
    while (length > 0 && !is_alnum(out[length - 1]))
        length--;
    out[length] = '\0';
}

static bool is_its_own_suffix(const char *kernel_id) {
    /* With a "-", so that no id looks like a hash. */
    return is_made_of(kernel_id, LOWER DIGIT "-", SUFFIX_MAX) && strchr(kernel_id, '-') != NULL;
}

void kube_name_suffix(const char *kernel_id, char suffix[KUBE_SUFFIX_SIZE]) {
    if (is_its_own_suffix(kernel_id))
        memcpy(suffix, kernel_id, strlen(kernel_id) + 1);
    else
        hash_hex(kernel_id, SUFFIX_HASH, suffix);
}

/* Of the id alone for the default install; no id has a "/". */
static char *id_in_install(const char *install, const char *kernel_id) {
    bool is_default = strcmp(install, KUBE_INSTALL_DEFAULT) == 0;
    return memory_printf("%s%s%s", is_default ? "" : install, is_default ? "" : "/", kernel_id);
}

static void name_with_suffix(const char *prefix, const char *kernel_id, char name[KUBE_NAME_SIZE]) {
    char suffix[KUBE_SUFFIX_SIZE];
    kube_name_suffix(kernel_id, suffix);
    snprintf(name, KUBE_NAME_SIZE, "%s%s", prefix, suffix);
}

void kube_name_record(const char *install, const char *kernel_id, char name[KUBE_NAME_SIZE]) {
    cleanup_free char *id = id_in_install(install, kernel_id);
    name_with_suffix("elara-record-", id, name);
}

void kube_name_key(const char *install, const char *kernel_id, char name[KUBE_NAME_SIZE]) {
    cleanup_free char *id = id_in_install(install, kernel_id);
    name_with_suffix("elara-kernel-", id, name);
}

void kube_name_gateway(const char *install, char name[KUBE_NAME_SIZE]) {
    snprintf(name, KUBE_NAME_SIZE, "elara-link-%s", install);
}

int kube_install_check(const char *install, struct error *err) {
    if (is_made_of(install, LOWER DIGIT "-", KUBE_INSTALL_MAX))
        return 0;
    return error_set(err, ERROR_INVALID,
                     "\"%.64s\" must be at most %d of a-z, 0-9 and -, with a letter or digit at "
                     "both ends",
                     install, KUBE_INSTALL_MAX);
}

/* The value of {{ kernel_x }} at the start of text, and how long that is; NULL: it is none. */
static const char *reference(const char *text, const json_t *values, size_t *ret_length) {
    char name[KUBE_NAME_SIZE];
    const char *at = text + 2 + strspn(text + 2, " ");
    size_t length = strspn(at, LOWER DIGIT "_");
    const char *end = at + length + strspn(at + length, " ");
    if (length == 0 || length >= sizeof name || !text_starts_with(end, "}}") ||
        !text_starts_with(at, "kernel_"))
        return NULL;
    for (size_t i = 0; i < length; i++)
        name[i] = at[i] >= 'a' && at[i] <= 'z' ? (char)(at[i] - 'a' + 'A') : at[i];
    name[length] = '\0';
    *ret_length = (size_t)(end + 2 - text);
    return json_string_value(json_object_get(values, name));
}

/* What KERNEL_POD_NAME comes to; malloc'ed, NULL: it cannot be followed. */
static char *render(const char *wish, const json_t *values) {
    cleanup_buffer struct buffer out = {.limit = 4096};
    while (*wish != '\0') {
        size_t length = 1;
        const char *value = NULL;
        bool is_reference = text_starts_with(wish, "{{");
        if (is_reference && (value = reference(wish, values, &length)) == NULL)
            return NULL;
        if ((is_reference ? buffer_append_text(&out, value) : buffer_append(&out, wish, 1)) < 0)
            return NULL;
        wish += length;
    }
    return memory_strdup(buffer_text(&out));
}

/* head-tail with as much of the head as there is room for; the tail alone when nothing is left of
 * it. */
static void join(const char *head, const char *tail, size_t max, char *name) {
    size_t tail_length = strlen(tail);
    assert(tail_length < max);
    slug(head, LOWER DIGIT, true, max - tail_length - 1, name);
    size_t length = strlen(name);
    if (length > 0)
        name[length++] = '-';
    memcpy(name + length, tail, tail_length + 1);
}

static bool wished_name(const char *kernel_id, const json_t *values, size_t max, char *name) {
    const char *wish = json_string_value(json_object_get(values, "KERNEL_POD_NAME"));
    cleanup_free char *text = wish != NULL ? render(wish, values) : NULL;
    if (text == NULL)
        return false;
    cleanup_free char *whole = memory_alloc(strlen(text) + 1);
    slug(text, LOWER DIGIT, true, strlen(text), whole);
    if (*whole == '\0')
        return false;
    char tail[KUBE_SUFFIX_SIZE];
    kube_name_suffix(kernel_id, tail);
    size_t length = strlen(whole), tail_length = strlen(tail);
    bool has_it = length > tail_length && text_ends_with(whole, tail) &&
                  whole[length - tail_length - 1] == '-';
    if (has_it)
        whole[length - tail_length] = '\0';
    else
        hash_hex(kernel_id, ID_HASH, tail);
    join(whole, tail, max, name);
    return true;
}

void kube_name_pod(const char *install, const char *kernel_id, const json_t *values,
                   int64_t attempt, char name[KUBE_NAME_SIZE]) {
    char pods[KUBE_NAME_SIZE];
    kube_name_pods(install, kernel_id, values, pods);
    kube_name_attempt(pods, attempt, name);
}

void kube_name_pods(const char *install, const char *kernel_id, const json_t *values,
                    char name[KUBE_NAME_SIZE]) {
    cleanup_free char *id = id_in_install(install, kernel_id);
    if (!wished_name(id, values, POD_BASE_MAX, name))
        name_with_suffix("kernel-", id, name);
}

void kube_name_attempt(const char *pods, int64_t attempt, char name[KUBE_NAME_SIZE]) {
    assert(attempt >= 1);
    snprintf(name, KUBE_NAME_SIZE, "%.*s-%d", POD_BASE_MAX, pods,
             (int)(attempt < KUBE_ATTEMPT_MAX ? attempt : KUBE_ATTEMPT_MAX));
}

int64_t kube_attempt_of(const char *name) {
    const char *last = strrchr(name, '-');
    int64_t attempt;
    if (last == NULL || text_parse_int(last + 1, 1, KUBE_ATTEMPT_MAX, name, &attempt, NULL) < 0)
        return 0;
    return attempt;
}

void kube_name_kernel_namespace(const char *install, const char *kernel_id, const json_t *values,
                                const char *user, char name[KUBE_NAME_SIZE]) {
    cleanup_free char *id = id_in_install(install, kernel_id);
    if (wished_name(id, values, NAME_MAX_LENGTH, name))
        return;
    char suffix[KUBE_SUFFIX_SIZE];
    kube_name_suffix(id, suffix);
    join(user != NULL && *user != '\0' ? user : "kernel", suffix, NAME_MAX_LENGTH, name);
}

int kube_prefix_check(const char *prefix, struct error *err) {
    size_t length = strlen(prefix);
    if (length > 0 && length <= KUBE_PREFIX_MAX && is_alnum(prefix[0]) &&
        prefix[strspn(prefix, LOWER DIGIT "-")] == '\0' && !text_starts_with(prefix, "kube"))
        return 0;
    return error_set(
        err, ERROR_INVALID,
        "\"%.64s\" must be 1 to %d of a-z, 0-9 and -, with a letter or digit in front, "
        "and not begin with kube",
        prefix, KUBE_PREFIX_MAX);
}

/* Text itself, or what is left of it with a hash of the whole. */
static void safe(const char *text, const char *kept, bool in_lower_case, bool is_fine, size_t max,
                 char *out) {
    if (is_fine && strlen(text) <= max && strstr(text, "--") == NULL) {
        memcpy(out, text, strlen(text) + 1);
        return;
    }
    char head[KUBE_NAME_SIZE], hash[SAFE_HASH + 1];
    slug(text, kept, in_lower_case, max - 3 - SAFE_HASH, head);
    hash_hex(text, SAFE_HASH, hash);
    size_t length = *head != '\0' ? strlen(head) : 1;
    memcpy(out, *head != '\0' ? head : "x", length);
    memcpy(out + length, "---", 3);
    memcpy(out + length + 3, hash, sizeof hash);
}

void kube_name_user_namespace(const char *prefix, const char *user, char name[KUBE_NAME_SIZE]) {
    size_t length = strlen(prefix);
    assert(length <= KUBE_PREFIX_MAX && *user != '\0');
    memcpy(name, prefix, length);
    safe(user, LOWER DIGIT, true, kube_is_dns_label(user), NAME_MAX_LENGTH - length, name + length);
}

void kube_label_value(const char *text, char value[KUBE_NAME_SIZE]) {
    safe(text, LOWER UPPER DIGIT "_.", false, kube_is_label_value(text), NAME_MAX_LENGTH, value);
}
