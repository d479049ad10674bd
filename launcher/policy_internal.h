/* What the policy's files share. policy_file.c reads and checks the YAML, policy.c finds the rule
 * that holds and looks at the request, policy_pod.c at the pod, policy_volumes.c at its mounts. */
#pragma once

#include "launcher/policy.h"

struct policy {
    char *name;       /* policy.yaml; NULL: policy_builtin */
    json_t *tree;     /* checked; {} at least */
    json_t *lines;    /* of yaml_parse_lines */
    json_t *fallback; /* {"uid": {"prohibited": [0]}, "gid": ...}: the settings' */
};

/* A member that holds for a request, and what the sentence needs. */
struct policy_rule {
    const json_t *value; /* NULL: the policy says nothing of it */
    char path[192];      /* "volumes.types", "rules[1].images" */
};

/* "volumes": the last rule that matches and has it, else the policy's own. */
void policy_find(const struct policy *policy, const struct policy_request *request,
                 const char *member, struct policy_rule *ret);

/* Everything that one check needs. */
struct policy_case {
    const struct policy *policy;
    const struct policy_request *request;
    const struct kube_flow *flow;
    struct error *err;
};

/* ERROR_DENIED "KERNEL_VOLUMES: hostPath / is not allowed: policy.yaml line 12 (volumes.types)".
 * part: below the rule, "types", or NULL. */
int policy_refuse(const struct policy_case *self, const char *variable,
                  const struct policy_rule *rule, const char *part, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

struct policy_rule policy_rule(const struct policy_case *self, const char *member);

/* For whoever asks how it was decided (policy_request's decisions): that the variable's value may
 * be at the place, and by what. */
void policy_allow(const struct policy_case *self, const char *variable, const char *place,
                  const struct policy_rule *rule, const char *part);

/* Does a text match one of the patterns (globs, {user})? */
bool policy_list_has(const struct policy_case *self, const json_t *patterns, const char *text);

/* A pattern with {user} replaced, as user_names writes it; NULL: it has {user} and there is no user
 * whose name can be one part of a path. malloc'ed. */
char *policy_expand(const struct policy_case *self, const char *pattern);

/* A path, of a volume or below one, that means what it seems to mean; else a sentence, static. */
const char *policy_path_problem(const char *path, bool is_absolute);
/* A path pattern's own problem. */
const char *policy_pattern_problem(const char *pattern, bool is_absolute);

int policy_check_volumes(const struct policy_case *self, const json_t *spec);
