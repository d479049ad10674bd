/* What kube_status.c and kube_status_container.c look at while they judge one pod. */
#pragma once

#include "launcher/kube_events.h"
#include "launcher/kube_status.h"

struct kube_view {
    const json_t *pod, *spec, *status;
    const json_t *event_list;
    struct kube_events events;
    const char *uid;       /* or NULL */
    const char *container; /* the kernel's */
    int64_t now_ms;
    const struct kube_status_settings *settings;
    struct kube_pod_verdict *verdict;
};

const char *kube_view_text(const json_t *object, const char *member); /* "" when it is not there */
/* The element of that name; NULL when there is none. */
const json_t *kube_view_named(const json_t *list, const char *name);

void kube_view_pending(struct kube_view *view, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void kube_view_fail(struct kube_view *view, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void kube_view_gone(struct kube_view *view, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Judge again then at the latest. */
void kube_view_again(struct kube_view *view, int64_t in_ms);

/* A trouble that may pass. False: its grace, from `since_ms` on, is over. True: the verdict is
 * pending with the stage, and again when the grace ends. */
bool kube_view_wait(struct kube_view *view, int64_t since_ms, int64_t grace_ms, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));

/* Pending or failed, by the states of the containers, of a pod that has its node. */
void kube_view_judge_containers(struct kube_view *view);
/* "exit code 1: its last words" of a terminated state, for the middle of a sentence. */
void kube_view_end_text(const json_t *terminated, char *out, size_t size);
bool kube_view_is_oom(const json_t *terminated);
/* The container's resources.limits.memory, "" when it has none. */
const char *kube_view_memory_limit(const struct kube_view *view, const char *container);
