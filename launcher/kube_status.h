/* What a pod's object and its events say about a kernel's start and end: one verdict, from no state
 * but the arguments (Kubernetes API, core/v1 PodStatus and Event).
 *
 * When a trouble ends a start. What cannot get better by itself does so at once: a name that is no
 * image's, an image or a right that the registry says is not there, a command that cannot be
 * executed, a container that ended several times. What may get better has a grace, counted from
 * its first sign: no node has room, a registry that cannot be reached, a volume, a sandbox, a
 * Secret that is referred to. A slow pull has none. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum kube_pod_state {
    KUBE_POD_PENDING, /* on its way; stage says what is going on */
    KUBE_POD_RUNNING, /* the kernel's container runs, ip is known */
    KUBE_POD_FAILED,  /* it will not run; another pod of the same making would not either */
    KUBE_POD_GONE,    /* it has ended or is being taken away; another pod may be made */
};

struct kube_status_settings {
    int64_t unschedulable_grace_ms; /* no node has room */
    int64_t scale_up_grace_ms;      /* the same, since the autoscaler said that it adds a node */
    int64_t image_grace_ms;         /* a pull that fails for a reason that may pass */
    int64_t volume_grace_ms;        /* a volume that cannot be attached or mounted */
    int64_t sandbox_grace_ms;       /* the pod's network or sandbox */
    int64_t config_grace_ms;        /* a Secret or ConfigMap that is not there */
    int64_t crash_limit;            /* ends of a container before it has run for good */
};
extern const struct kube_status_settings kube_status_defaults;

/* When which stage was reached, wall time in ms since 1970; 0: not yet or not known. */
struct kube_pod_times {
    int64_t created_ms, scheduled_ms, pulled_ms, started_ms;
};

enum {
    KUBE_STAGE_SIZE = 512,
    KUBE_REASON_SIZE = 64,
    KUBE_MESSAGE_SIZE = 1024,
    KUBE_IP_SIZE = 64,
    KUBE_TIME_SIZE = 64,
};

struct kube_pod_verdict {
    enum kube_pod_state state;
    char stage[KUBE_STAGE_SIZE];   /* "pulling the image x (since 2 min)"; "" when FAILED or GONE */
    char reason[KUBE_REASON_SIZE]; /* FAILED, GONE: a word of kube_reasons.h */
    char message[KUBE_MESSAGE_SIZE]; /* FAILED, GONE: the true cause, and what to do */
    char ip[KUBE_IP_SIZE];           /* "" while there is none */
    struct kube_pod_times times;
    int64_t judge_again_ms; /* now + this, if nothing changes before: a grace ends or an age in the
                               stage grows; 0: never */
    /* Ends of the kernel's container within this pod; the last one's cause. */
    int64_t container_restarts;
    int64_t last_exit_code;           /* -1: there was none */
    bool last_was_oom;                /* the container went over its memory limit */
    char last_end[KUBE_MESSAGE_SIZE]; /* in which way, and what to do; "" when there was none */
    char last_end_at[KUBE_TIME_SIZE]; /* tells it from others: its time, as the status has it */
    char doubt[KUBE_STAGE_SIZE];      /* RUNNING: its node is not ready: what that means for the
                                         kernel, for a person; "" when all is well */
};

/* pod: the Pod, or NULL when the API server has none any more. events: array of core/v1 Events in
 * any order (others' are passed over), or NULL. settings: NULL for the defaults. */
void kube_pod_judge(const json_t *pod, const json_t *events, int64_t now_ms,
                    const struct kube_status_settings *settings, struct kube_pod_verdict *ret);

/* "2026-01-31T12:00:00Z", with or without a fraction (RFC 3339), in ms since 1970; 0: no such
 * text. */
int64_t kube_time_parse(const char *text);
