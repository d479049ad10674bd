#include "launcher/kube_text.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"

#include <ctype.h>
#include <string.h>

enum { MESSAGE_MAX = 4096 }; /* of Kubernetes are shorter */

void kube_text_clean(const char *text, char *out, size_t size) {
    cleanup_free char *valid = NULL, *repaired = NULL;
    valid = memory_strndup(text, strnlen(text, MESSAGE_MAX));
    repaired = utf8_repair(valid);
    size_t length = 0;
    bool is_cut = false;
    for (const char *c = repaired; *c != '\0' && !is_cut; c++) {
        bool is_space = (unsigned char)*c <= ' ' || *c == 0x7f;
        if (is_space && (length == 0 || out[length - 1] == ' '))
            continue;
        if (length + 1 >= size)
            is_cut = true;
        else
            out[length++] = is_space ? ' ' : *c;
    }
    if (is_cut && size > 4) {
        length = utf8_floor(out, length, size - 4);
        memcpy(out + length, "...", 3);
        length += 3;
    }
    while (length > 0 && out[length - 1] == ' ')
        length--;
    out[length] = '\0';
    if (length > 0 && out[length - 1] == '.' && !text_ends_with(out, "..."))
        out[length - 1] = '\0';
}

const char *kube_text_after_rpc(const char *message) {
    const char *at = message;
    while ((at = strstr(message, "rpc error: code = ")) != NULL) {
        const char *description = strstr(at, " desc = ");
        if (description == NULL)
            break;
        message = description + strlen(" desc = ");
    }
    return message;
}

/* Behind `begin "anything": ` at the start; else message itself. */
static const char *skip_quoted(const char *message, const char *begin) {
    if (!text_starts_with(message, begin))
        return message;
    const char *quote = strstr(message + strlen(begin), "\": ");
    return quote != NULL ? quote + 3 : message;
}

void kube_text_pull(const char *message, char *out, size_t size) {
    static const char *const before[] = {
        "Failed to pull image \"",
        "Back-off pulling image \"",
        "failed to pull and unpack image \"",
        "failed to resolve reference \"",
        "failed to pull image \"",
    };
    const char *at = message, *last;
    do {
        last = at;
        for (size_t i = 0; i < sizeof before / sizeof *before; i++)
            at = skip_quoted(at, before[i]);
        if (text_starts_with(at, "ErrImagePull: "))
            at += strlen("ErrImagePull: ");
        at = kube_text_after_rpc(at);
    } while (at != last);
    kube_text_clean(at, out, size);
}

static bool has_any(const char *text, const char *const *words) {
    for (; *words != NULL; words++)
        if (strcasestr(text, *words) != NULL)
            return true;
    return false;
}

/* Whole words only. An image called team/not-found must not decide. */
static void blank(char *text, const char *word) {
    size_t length = strlen(word);
    for (char *at = text; length > 0 && (at = strcasestr(at, word)) != NULL; at++)
        if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[length]))
            memset(at, '_', length);
}

bool kube_text_pull_may_pass(const char *message, const char *image) {
    static const char *const passing[] = {
        "timeout",           "timed out",       "deadline exceeded",
        "too many requests", "toomanyrequests", "connection re",
        "unexpected eof",    ": eof",           "tls handshake",
        "no such host",      "temporar",        "network is unreachable",
        "no route to host",  "service unavail", "internal server",
        "bad gateway",       "gateway time",    "no space left",
        "server misbehav",   "broken pipe",     NULL};
    static const char *const lasting[] = {"not found",
                                          "manifest unknown",
                                          "does not exist",
                                          "unauthorized",
                                          "authorization",
                                          "authentication",
                                          "denied",
                                          "forbidden",
                                          "no match for",
                                          "no matching",
                                          "invalid ref",
                                          "invalid repo",
                                          "x509:",
                                          "http response to",
                                          "name unknown",
                                          "unsupported",
                                          "not implement",
                                          "no such image",
                                          NULL};
    cleanup_free char *copy = memory_strndup(message, strnlen(message, MESSAGE_MAX));
    const char *slash = strrchr(image, '/'), *last = slash != NULL ? slash + 1 : image;
    cleanup_free char *name = /* without tag and digest */
        memory_strndup(image, (size_t)(last - image) + strcspn(last, ":@"));
    blank(copy, name);
    return has_any(copy, passing) || !has_any(copy, lasting);
}

void kube_text_mount(const char *message, char *out, size_t size) {
    const char *output = strstr(message, "Output: ");
    const char *after = kube_text_after_rpc(message);
    if (output != NULL) {
        kube_text_clean(output + strlen("Output: "), out, size);
        return;
    }
    const char *failed = strstr(after, "failed for volume \"");
    if (failed != NULL) {
        const char *colon = strstr(failed, "\" : ");
        if (colon != NULL)
            after = kube_text_after_rpc(colon + strlen("\" : "));
    }
    kube_text_clean(after, out, size);
}

void kube_text_run(const char *message, char *out, size_t size) {
    static const char layer[] = "unable to start container process: ", tail[] = ": unknown";
    const char *at = kube_text_after_rpc(message), *inner = strstr(at, layer);
    kube_text_clean(inner != NULL ? inner + strlen(layer) : at, out, size);
    if (text_ends_with(out, tail))
        out[strlen(out) - strlen(tail)] = '\0';
}

void kube_text_schedule(const char *message, char *out, size_t size) {
    static const char *const ends[] = {". preemption:", ", preemption:", ". no new claims",
                                       " preemption:"};
    size_t length = strnlen(message, MESSAGE_MAX);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const char *end = strstr(message, ends[i]);
        if (end != NULL && (size_t)(end - message) < length)
            length = (size_t)(end - message);
    }
    cleanup_free char *sentence = memory_strndup(message, length);
    kube_text_clean(sentence, out, size);
}
