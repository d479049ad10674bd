/* What a policy lets requests do, and its file. */
#include "policy_fixture.h"

#include "base/cleanup.h"

#include "launcher/kube_trace.h"

static void what_is_the_administrators_is_not_looked_at(void **state) {
    struct fixture *fixture = *state;
    forget(fixture);
    use_template(fixture,
                 "spec:\n"
                 "  serviceAccountName: admin\n"
                 "  securityContext: {runAsUser: 5}\n"
                 "  volumes: [{name: r, hostPath: {path: /}}, {name: s, secret: {secretName: s}}]\n"
                 "  containers: [{name: kernel, image: any/where, resources: {limits: {cpu: 64}}, "
                 "volumeMounts: [{name: r, mountPath: '${KERNEL_WORKING_DIR}'}], "
                 "env: [{name: WHO, value: '${KERNEL_TEAM}'}]}]\n");
    spec_says(fixture, "KERNEL_VOLUMES",
              "[{name: h, nfs: {server: other.example.com, path: /x/$KERNEL_USERNAME}}]");
    wish(fixture, "KERNEL_TEAM", "blue");
    wish(fixture, "KERNEL_WORKING_DIR", "/work");
    json_t *pod = make(fixture);
    assert_value(pod, "spec/volumes/0/hostPath/path", "\"/\"");
    assert_value(pod, "spec/volumes/2/nfs/path", "\"/x/ann\"");
    assert_value(pod, "spec/containers/0/env/0/value", "\"blue\"");
    assert_value(pod, "spec/containers/0/resources/limits/cpu", "64");
    json_decref(pod);
}

/* --- what is allowed --- */

static void the_lab_works(void **state) {
    static const char *const paths[] = {"/export/home/ann", "/export/shared", "/export/shared/a/b",
                                        "/export/shared/Jos\xc3\xa9"};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        forget(fixture);
        use_lab_spec(fixture);
        wish(fixture, "KERNEL_PATH", paths[i]);
        wish(fixture, "KERNEL_USERNAME", "bob"); /* claimed, and not believed */
        json_t *pod = make(fixture);
        assert_string_equal(text_at(pod, "spec/volumes/0/nfs/path"), paths[i]);
        assert_value(pod, "spec/containers/0/resources/requests/cpu", "\"500m\"");
        assert_value(pod, "spec/containers/0/resources/limits/cpu", "\"4\"");
        assert_value(pod, "spec/containers/0/resources/limits/memory", "\"8Gi\"");
        json_decref(pod);
    }
    forget(fixture);
    wish(fixture, "KERNEL_VOLUMES",
         "[{name: d, nfs: {server: nfs.example.com, path: /export/data, readOnly: true}}, "
         "{name: e, emptyDir: {}}, {name: s, persistentVolumeClaim: {claimName: scratch-1}}]");
    wish(fixture, "KERNEL_VOLUME_MOUNTS", "[{name: d, mountPath: /d}, {name: s, mountPath: /s}]");
    wish(fixture, "KERNEL_IMAGE", "registry.example.com/lab/r@sha256:0123");
    wish(fixture, "KERNEL_UID", "1999");
    wish(fixture, "KERNEL_GID", "100");
    wish(fixture, "KERNEL_CPUS", "4000m");
    wish(fixture, "KERNEL_GPUS", "1");
    wish(fixture, "MY_VARIABLE", "x");
    json_t *pod = make(fixture);
    assert_value(pod, "spec/containers/0/image", "\"registry.example.com/lab/r@sha256:0123\"");
    assert_value(pod, "spec/securityContext/runAsUser", "1999");
    json_decref(pod);
}

static void names_are_written_as_directories_are(void **state) {
    struct fixture *fixture = *state;
    struct policy *policy =
        policy_of("variables: {allow: [KERNEL_PATH]}\nuser_names: hub\n"
                  "volumes: {nfs: [{server: nfs.example.com, paths: ['/home/claim-{user}']}]}\n");
    fixture->settings.policy = policy;
    fixture->plan.identity.owner = "ann@example.com";
    forget(fixture);
    use_lab_spec(fixture);
    wish(fixture, "KERNEL_PATH", "/home/claim-ann-40example-2ecom");
    json_decref(make(fixture));
    wish(fixture, "KERNEL_PATH", "/home/claim-ann@example.com");
    denied(fixture, "KERNEL_PATH", "(volumes.nfs)");
    policy_destroy(policy);
}

static void names_that_are_claimed(void **state) {
    struct fixture *fixture = *state;
    struct policy *policy =
        policy_of("variables: {allow: [KERNEL_PATH]}\nusers: {trust_claimed_names: true}\n"
                  "volumes: {nfs: [{server: nfs.example.com, paths: ['/export/home/{user}']}]}\n");
    static const struct {
        const char *name, *path;
        bool is_allowed;
    } rows[] = {{"bob", "/export/home/bob", true},    {"bob", "/export/home/ann", false},
                {"", "/export/home/ann", true},       {"a/b", "/export/home/a/b", false},
                {"..", "/export/home/..", false},     {".", "/export/home/.", false},
                {"*", "/export/home/bob", false},     {"bob/", "/export/home/bob", false},
                {"{user}", "/export/home/ann", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        use_lab_spec(fixture);
        fixture->settings.policy = policy;
        wish(fixture, "KERNEL_USERNAME", rows[i].name);
        wish(fixture, "KERNEL_PATH", rows[i].path);
        if (rows[i].is_allowed)
            json_decref(make(fixture));
        else
            denied(fixture, "", rows[i].path);
    }
    policy_destroy(policy);
}

/* Whoever has a token of his own cannot become another by what he says. */
static void the_spec_may_use_the_name_that_counts(void **state) {
    struct fixture *fixture = *state;
    forget(fixture);
    spec_says(fixture, "KERNEL_HOME", "/export/home/${KERNEL_USERNAME}");
    json_object_set_new(fixture->values, "KERNEL_HOME", json_string("/export/home/bob"));
    wish(fixture, "KERNEL_USERNAME", "bob");
    use_template(fixture, "spec: {volumes: [{name: h, nfs: {server: other, path: "
                          "'${KERNEL_HOME}'}}], containers: [{name: k}]}");
    for (int i = 0; i < 2; i++) {
        json_t *pod = make(fixture);
        assert_value(pod, "spec/volumes/0/nfs/path", "\"/export/home/ann\"");
        json_decref(pod);
        fixture->settings.policy = NULL; /* without one too */
    }
}

static void rules_and_who_wins(void **state) {
    struct fixture *fixture = *state;
    struct policy *policy = policy_of("variables: {allow: [KERNEL_IMAGE, KERNEL_PATH]}\n"
                                      "images: [base/*]\n"
                                      "groups: {gpu: [ann, 'x-*']}\n"
                                      "rules:\n"
                                      "- when: {kernelspecs: ['r*']}\n"
                                      "  images: [r/*]\n"
                                      "- when: {groups: [gpu], kernelspecs: [py]}\n"
                                      "  images: [gpu/*]\n"
                                      "- when: {users: [bob]}\n"
                                      "  users: {authorized: []}\n");
    static const struct {
        const char *spec, *owner, *image, *expected; /* NULL: allowed */
    } rows[] = {
        {"other", "ann", "base/x", NULL},
        {"other", "ann", "r/x", "policy.yaml line 2 (images)"},
        {"rrr", "ann", "r/x", NULL},
        {"rrr", "ann", "base/x", "policy.yaml line 6 (rules[0].images)"},
        {"py", "ann", "gpu/x", NULL},
        {"py", "x-1", "gpu/x", NULL},
        {"py", "eve", "gpu/x", "line 2 (images)"},
        {"py", "ann", "base/x", "policy.yaml line 8 (rules[1].images)"},
        {"py", "bob", "base/x", "policy.yaml line 10 (rules[2].users.authorized)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        fixture->settings.policy = policy;
        fixture->plan.kernelspec = rows[i].spec;
        fixture->plan.identity.owner = rows[i].owner;
        wish(fixture, "KERNEL_IMAGE", rows[i].image);
        if (rows[i].expected != NULL)
            denied(fixture, "KERNEL_", rows[i].expected);
        else
            json_decref(make(fixture));
    }
    fixture->plan.identity.owner = "ann";
    /* The kernelspec's counts, unless it lets clients say it. */
    json_t *overridable = json_pack("[s]", "image");
    for (int i = 0; i < 2; i++) {
        forget(fixture);
        fixture->plan.kernelspec = "other";
        fixture->plan.overridable = i == 0 ? NULL : overridable;
        spec_says(fixture, "KERNEL_IMAGE", "spec/image");
        wish(fixture, "KERNEL_IMAGE", "base/x");
        json_t *pod = make(fixture);
        assert_string_equal(text_at(pod, "spec/containers/0/image"),
                            i == 0 ? "spec/image" : "base/x");
        json_decref(pod);
    }
    json_decref(overridable);
    fixture->plan.overridable = NULL;
    forget(fixture);
    wish(fixture, "KERNEL_UID", "1000");
    denied(fixture, "KERNEL_UID",
           "the variable is not allowed: policy.yaml line 1 (variables.allow)");
    policy_destroy(policy);
}

static void an_empty_policy_gives_nothing_away(void **state) {
    static const struct {
        const char *name, *value, *expected;
    } rows[] = {
        {"KERNEL_IMAGE", "any/x", "policy.yaml has no images"},
        {"KERNEL_VOLUMES", "[{name: n, nfs: {server: s, path: /p}}]", "has no volumes"},
        {"KERNEL_VOLUMES", "[{name: n, persistentVolumeClaim: {claimName: c}}]", "has no volumes"},
        {"KERNEL_SERVICE_ACCOUNT_NAME", "x", "has no service_accounts"},
    };
    struct fixture *fixture = *state;
    struct policy *policy = policy_of("# nothing\n");
    fixture->settings.policy = policy; /* and every variable is allowed by the setting */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        wish(fixture, rows[i].name, rows[i].value);
        denied(fixture, rows[i].name, rows[i].expected);
    }
    policy_destroy(policy);
}

/* --- who said what --- */

static void assert_said(const struct kube_trace *trace, const char *place, const char *who,
                        const char *rule) {
    const char *said = json_string_value(json_object_get(trace->said, place));
    const char *allowed = json_string_value(json_object_get(trace->rules, place));
    if (said == NULL || strcmp(said, who) != 0)
        fail_msg("%s is said by %s, not %s", place, said, who);
    if (strcmp(allowed != NULL ? allowed : "", rule) != 0)
        fail_msg("%s is allowed by \"%s\", not \"%s\"", place, allowed, rule);
}

static void everything_is_said_by_somebody(void **state) {
    static const struct {
        const char *place, *who, *rule;
    } rows[] = {
        {"spec.containers[kernel].image", "setting kubernetes-image", ""},
        {"spec.containers[kernel].env[TEAM].value", "client's KERNEL_TEAM", ""},
        {"spec.containers[kernel].env[TEAM].name", "pod.yaml", ""},
        {"spec.containers[side].image", "pod.yaml", ""},
        {"spec.containers[kernel].resources.requests.memory", "client's KERNEL_MEMORY",
         "policy.yaml line 14 (resources.memory.max)"},
        {"spec.containers[kernel].resources.requests.cpu", "policy",
         "policy.yaml line 14 (resources.cpus.default)"},
        {"spec.containers[kernel].resources.limits.cpu", "policy",
         "policy.yaml line 14 (resources.cpus.max)"},
        {"spec.containers[kernel].resources.limits.memory", "kernel.json's env", ""},
        {"spec.securityContext.runAsUser", "client's KERNEL_UID", "policy.yaml line 10 (uid)"},
        {"spec.securityContext.runAsGroup", "kernel.json's env", ""},
        {"spec.securityContext.runAsNonRoot", "Elara", ""},
        {"spec.volumes[home].nfs.server", "kernel.json's env", ""},
        {"spec.volumes[home].nfs.path", "client's KERNEL_PATH",
         "policy.yaml line 7 (volumes.nfs[0])"},
        {"spec.volumes[elara].emptyDir.sizeLimit", "Elara", ""},
        {"spec.initContainers[elara-launcher].image", "Elara", ""},
    };
    struct fixture *fixture = *state;
    struct kube_trace *trace = kube_trace_create();
    forget(fixture);
    use_lab_spec(fixture);
    use_template(fixture, "spec: {containers: [{name: kernel, env: [{name: TEAM, value: "
                          "'${KERNEL_TEAM}'}]}, {name: side, image: s}]}");
    spec_says(fixture, "KERNEL_MEMORY_LIMIT", "4Gi");
    spec_says(fixture, "KERNEL_GID", "100");
    wish(fixture, "KERNEL_PATH", "/export/home/ann");
    wish(fixture, "KERNEL_TEAM", "blue");
    wish(fixture, "KERNEL_MEMORY", "2Gi");
    wish(fixture, "KERNEL_UID", "1500");
    fixture->plan.trace = trace;
    json_t *pod = make(fixture);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_said(trace, rows[i].place, rows[i].who, rows[i].rule);
    json_decref(pod);
    /* Without a policy what was trusted is a client's too, and no rule is named. */
    static char path[] = "KERNEL_PATH", uid[] = "KERNEL_UID";
    static char *const trusted[] = {path, uid, NULL};
    const struct policy *policy = fixture->settings.policy;
    fixture->settings.policy = NULL;
    fixture->settings.trusted = trusted;
    kube_trace_destroy(trace);
    fixture->plan.trace = trace = kube_trace_create();
    json_decref(make(fixture));
    fixture->settings.policy = policy;
    assert_said(trace, "spec.volumes[home].nfs.path", "client's KERNEL_PATH", "");
    assert_said(trace, "spec.securityContext.runAsUser", "client's KERNEL_UID", "");
    kube_trace_destroy(trace);
}

/* Beside a variable that is trusted another one is looked at all the same. */
static void trust_is_not_shared(void **state) {
    static char word[] = "KERNEL_WORD";
    static char *const named[] = {word, NULL};
    struct fixture *fixture = *state;
    fixture->settings.trusted = named;
    for (int i = 0; i < 3; i++) {
        forget(fixture);
        wish(fixture, "KERNEL_WORD", "ours");
        wish(fixture, "KERNEL_PATH", "bob");
        if (i == 0)
            use_template(fixture, "spec: {volumes: [{name: h, nfs: {server: s, path: "
                                  "'/${KERNEL_WORD}/${KERNEL_PATH}'}}], containers: [{name: k}]}");
        else if (i == 1)
            spec_says(fixture, "KERNEL_VOLUMES",
                      "[{name: h, nfs: {server: s, path: '/${KERNEL_WORD}/${KERNEL_PATH}'}}]");
        else
            fixture->plan.template = fixture->template = json_string(
                "kind: Pod\nspec:\n  volumes: [{name: h, nfs: {server: s, path: "
                "'/{{ kernel_word }}/{{ kernel_path }}'}}]\n  containers: [{name: k}]\n");
        denied(fixture, "KERNEL_PATH", "nfs s:/ours/bob is not allowed");
        wish(fixture, "KERNEL_PATH", "x");
        json_object_del(fixture->client, "KERNEL_PATH"); /* the administrator's own */
        json_decref(make(fixture));
    }
}

/* The lab's own kernelspec, and the administrator has said nothing of a policy. */
static void without_a_policy_nothing_reaches_anothers_data(void **state) {
    static const struct {
        const char *template, *expected;
    } rows[] = {
        {NULL, "nfs nfs.example.com:/export/home/bob is not allowed: this gateway has no policy"},
        {"spec: {volumes: [{name: x, hostPath: {path: '${KERNEL_PATH}'}}], containers: [{name: "
         "k}]}",
         "hostPath /export/home/bob is not allowed"},
        {"spec: {volumes: [{name: x, persistentVolumeClaim: {claimName: '${KERNEL_WORD}'}}], "
         "containers: [{name: k}]}",
         "volumes: {nfs: "},
        {"spec: {volumes: [{name: h, persistentVolumeClaim: {claimName: homes}}], containers: "
         "[{name: k, volumeMounts: [{name: h, mountPath: /h, subPath: '${KERNEL_WORD}'}]}]}",
         "persistentVolumeClaim is not allowed"},
        {"spec: {volumes: [{name: h, nfs: {server: s, path: /x}}], containers: [{name: k, "
         "volumeMounts: [{name: h, mountPath: /h, subPathExpr: '${KERNEL_WORD}'}]}]}",
         "subPathExpr"},
        {"spec: {containers: [{name: k, image: 'lab/${KERNEL_WORD}'}]}", "images: [NAME]"},
        {"spec: {containers: [{name: k}, {name: s, image: 'lab/${KERNEL_WORD}'}]}",
         "images: [NAME]"},
        {"spec: {serviceAccountName: '${KERNEL_WORD}', containers: [{name: k}]}",
         "service_accounts: [NAME]"},
        {"spec: {securityContext: {runAsUser: '${KERNEL_N}'}, containers: [{name: k}]}", "uid: {"},
        {"spec: {securityContext: {fsGroup: '${KERNEL_N}'}, containers: [{name: k}]}", "gid: {"},
        {"spec: {containers: [{name: k, envFrom: [{secretRef: {name: '${KERNEL_WORD}'}}]}]}",
         "envFrom"},
    };
    static char path[] = "KERNEL_PATH", word[] = "KERNEL_WORD", number[] = "KERNEL_N", all[] = "*";
    static char *const named[] = {path, word, number, NULL}, *const star[] = {all, NULL},
                       *const other[] = {word, NULL};
    struct fixture *fixture = *state;
    fixture->settings.allowed = kube_wishes_free();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        fixture->settings.trusted = i == 0 ? other : NULL;
        if (rows[i].template != NULL)
            use_template(fixture, rows[i].template);
        else
            use_lab_spec(fixture);
        wish(fixture, "KERNEL_PATH", "/export/home/bob");
        wish(fixture, "KERNEL_WORD", "theirs");
        wish(fixture, "KERNEL_N", "33");
        denied(fixture, "KERNEL_", rows[i].expected);
        /* In so many words: whoever can start a kernel is trusted with everybody's data. */
        for (int j = 0; j < 2; j++) {
            fixture->settings.trusted = j == 0 ? named : star;
            json_decref(make(fixture));
        }
    }
    forget(fixture);
    fixture->settings.trusted = NULL;
    use_lab_spec(fixture);
    wish(fixture, "KERNEL_PATH", "/export/home/bob");
    denied(fixture, "KERNEL_PATH", "\"variables: {allow: [KERNEL_PATH]}\" and \"volumes: {nfs: ");
    denied(fixture, "KERNEL_PATH", "or name KERNEL_PATH in kubernetes-allow");
    /* What a notebook server sets by itself, and amounts. */
    forget(fixture);
    wish(fixture, "KERNEL_CPUS", "2");
    wish(fixture, "KERNEL_MEMORY_LIMIT", "2Gi");
    wish(fixture, "KERNEL_WORKING_DIR", "/work");
    wish(fixture, "KERNEL_LAUNCH_TIMEOUT", "40");
    wish(fixture, "KERNEL_USERNAME", "bob");
    spec_says(fixture, "KERNEL_VOLUMES",
              "[{name: h, nfs: {server: s, path: /x/$KERNEL_USERNAME}}]");
    json_t *pod = make(fixture);
    assert_value(pod, "spec/volumes/0/nfs/path", "\"/x/ann\"");
    json_decref(pod);
}

static void prohibited_by_the_settings(void **state) {
    struct fixture *fixture = *state;
    char one[] = "0", other[] = "4711";
    char *const numbers[] = {one, other, NULL};
    const struct policy_defaults defaults = {numbers, numbers};
    struct policy *policy = NULL;
    assert_int_equal(policy_file_parse("", 0, "policy.yaml", &defaults, &policy, NULL), 0);
    forget(fixture);
    fixture->settings.prohibited_uids = numbers;
    fixture->settings.policy = NULL;
    wish(fixture, "KERNEL_UID", "4711");
    denied(fixture, "KERNEL_UID", "4711 is one of the setting prohibited-uids");
    forget(fixture);
    fixture->settings.policy = policy;
    use_template(fixture, "spec: {securityContext: {runAsUser: '${KERNEL_N}'}, "
                          "containers: [{name: k}]}");
    wish(fixture, "KERNEL_N", "4711");
    denied(fixture, "KERNEL_N", "prohibited-uids");
    policy_destroy(policy);
}

/* For what is no pod: the bounds themselves. */
static void ids_of(const struct policy *policy, const char *owner, const char *member,
                   const char *expected) {
    const struct policy_request request = policy_request_of("python", NULL, owner, NULL);
    cleanup_json json_t *ids = policy_ids(policy, &request, member);
    cleanup_free char *text = json_dumps(ids, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, expected);
}

static void bounds_of_ids(void **state) {
    (void)state;
    static const char yaml[] = "uid: {from: 1000, prohibited: [1234]}\n"
                               "rules: [{when: {users: [ann]}, uid: {to: 5000}}]\n";
    char seven[] = "7";
    char *const sevens[] = {seven, NULL};
    const struct policy_defaults defaults = {sevens, sevens};
    struct error err = {0};
    struct policy *policy = NULL;
    assert_int_equal(policy_file_parse(yaml, strlen(yaml), "policy.yaml", &defaults, &policy, &err),
                     0);
    ids_of(policy, "bob", "uid", "{\"from\":1000,\"prohibited\":[1234]}");
    ids_of(policy, "ann", "uid", "{\"prohibited\":[7],\"to\":5000}");
    ids_of(policy, "bob", "gid", "{\"prohibited\":[7]}");
    policy_destroy(policy);
}

static void prohibited_groups(void **state) {
    struct fixture *fixture = *state;
    char one[] = "0", other[] = "4711";
    char *const numbers[] = {one, other, NULL};
    const struct policy_defaults defaults = {numbers, numbers};
    struct policy *policy = NULL;
    struct error err = {0};
    const char yaml[] = "variables: {allow: ['KERNEL_*']}\n"
                        "rules: [{when: {users: [ann]}, gid: {prohibited: [4712]}}]";
    if (policy_file_parse(yaml, strlen(yaml), "policy.yaml", &defaults, &policy, &err) < 0)
        fail_msg("%s", err.text);
    static const struct {
        const char *owner, *gid, *expected;
    } rows[] = {
        {"bob", "4711", "prohibited-gids"},
        {"bob", " 4711", "KERNEL_GID"},
        {"bob", "04711", "KERNEL_GID"},
        {"bob", "0", "is root"},
        {"bob", "4712", NULL},
        {"ann", "4712", "policy.yaml line 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        fixture->settings.policy = policy;
        fixture->plan.identity.owner = rows[i].owner;
        wish(fixture, "KERNEL_GID", rows[i].gid);
        if (rows[i].expected != NULL)
            denied(fixture, "KERNEL_GID", rows[i].expected);
        else
            json_decref(make(fixture));
    }
    policy_destroy(policy);
}

static void variables_by_rule(void **state) {
    struct fixture *fixture = *state;
    struct policy *policy = policy_of("variables: {allow: [KERNEL_CPUS]}\n"
                                      "rules:\n"
                                      "- when: {kernelspecs: [big], users: [ann]}\n"
                                      "  variables: {allow: [KERNEL_MEMORY]}\n");
    static const struct {
        const char *spec, *owner, *variable, *expected;
    } rows[] = {
        {"py", "ann", "KERNEL_CPUS", NULL},
        {"py", "ann", "KERNEL_MEMORY", "policy.yaml line 1 (variables.allow)"},
        {"big", "ann", "KERNEL_MEMORY", NULL},
        {"big", "ann", "KERNEL_CPUS", "policy.yaml line 4 (rules[0].variables.allow)"},
        {"big", "bob", "KERNEL_MEMORY", "policy.yaml line 1 (variables.allow)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        fixture->settings.policy = policy;
        fixture->plan.kernelspec = rows[i].spec;
        fixture->plan.identity.owner = rows[i].owner;
        wish(fixture, rows[i].variable, strcmp(rows[i].variable, "KERNEL_CPUS") == 0 ? "1" : "1Gi");
        if (rows[i].expected != NULL)
            denied(fixture, rows[i].variable, rows[i].expected);
        else
            json_decref(make(fixture));
    }
    policy_destroy(policy);
}

static void namespaces(void **state) {
    (void)state;
    struct policy *policy = policy_of("variables: {allow: [KERNEL_NAMESPACE]}\n"
                                      "namespaces: ['team-{user}', 'lab-*']\n"
                                      "rules: [{when: {kernelspecs: [gpu]}, namespaces: [gpus]}]");
    struct policy *silent = policy_of("variables: {allow: [KERNEL_NAMESPACE]}");
    static const struct {
        const char *spec, *name, *expected;
    } rows[] = {
        {"py", "team-ann", NULL},
        {"py", "lab-7", NULL},
        {"py", "team-bob",
         "KERNEL_NAMESPACE: namespace team-bob is not allowed: policy.yaml line 2"},
        {"py", "kube-system", "policy.yaml line 2 (namespaces)"},
        {"gpu", "gpus", NULL},
        {"gpu", "team-ann", "policy.yaml line 3 (rules[0].namespaces)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct policy_request request = {.kernelspec = rows[i].spec, .owner = "ann"};
        struct error err = {0};
        int result = policy_check_namespace(policy, &request, rows[i].name, &err);
        assert_int_equal(result, rows[i].expected == NULL ? 0 : -1);
        if (rows[i].expected != NULL && strstr(err.text, rows[i].expected) == NULL)
            fail_msg("\"%s\" without \"%s\"", err.text, rows[i].expected);
        assert_int_equal(policy_check_namespace(silent, &request, rows[i].name, &err), -1);
    }
    policy_destroy(policy);
    policy_destroy(silent);
}

/* --- the file --- */

static void mistakes_in_the_file(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *expected;
    } rows[] = {
        {"[a]", "policy.yaml: must be a mapping"},
        {"imgaes: [a]", "policy.yaml:1: imgaes: is not known; it must be one of variables, images"},
        {"\nimages: a", "policy.yaml:2: images: must be a list of texts"},
        {"images:\n- a\n- 3", "policy.yaml:3: images[1]: must be a text"},
        {"volumes: {types: [hostpath]}", "policy.yaml:1: volumes.types[0]: \"hostpath\" must be"},
        {"volumes: {types: [secret]}", "keys of others' kernels"},
        {"volumes: {nfs: [{server: s}]}", "volumes.nfs[0]: must have a server and paths"},
        {"volumes: {nfs: [{server: s, paths: [a]}]}", "volumes.nfs[0].paths[0]: \"a\" must begin"},
        {"volumes: {host_paths: [/a/../b]}", "is . or .."},
        {"volumes: {host_paths: [/a/]}", "ends with /"},
        {"volumes: {host_paths: [/a/*]}", "may end with /**"},
        {"volumes: {claims: [a//b]}", "claims[0]"},
        {"uid: {from: 5, to: 4}", "uid: from must not be larger"},
        {"uid: {from: -1}", "uid.from: must be a whole number"},
        {"uid: {prohibited: [x]}", "uid.prohibited[0]"},
        {"variables: {allow: [PATH]}", "must begin with KERNEL_"},
        {"resources: {cpus: {max: lots}}", "resources.cpus.max: must be an amount"},
        {"users: {trust_claimed_names: perhaps}", "must be true or false"},
        {"rules: [{images: [a]}]", "policy.yaml:1: rules[0]: must have a \"when\""},
        {"rules:\n- when: {groups: [x]}",
         "policy.yaml:2: rules[0]: when.groups: \"x\" is no group"},
        {"rules:\n- when: {}\n  users: {trust_claimed_names: true}", "belongs to the whole policy"},
        {"rules: 3", "rules: must be a list"},
        {"groups: [a]", "groups: must be names of groups"},
        {"images: &a [x]", "policy.yaml: line 1, column 9: anchors"},
        {"images: [x", "policy.yaml: "},
        {"env: {count: many}", "env.count"},
        {"user_names: any", "user_names: must be raw, hub or safe-slug"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {0};
        struct policy *policy = NULL;
        assert_int_equal(policy_file_parse(rows[i].yaml, strlen(rows[i].yaml), "policy.yaml", NULL,
                                           &policy, &err),
                         -1);
        assert_null(policy);
        assert_has(err.text, rows[i].expected);
    }
}

/* Jinja's names are in lower case: no other spelling becomes one of them. */
static void other_spellings_are_other_names(void **state) {
    struct fixture *fixture = *state;
    forget(fixture);
    fixture->plan.template = fixture->template =
        json_string("kind: Pod\nspec:\n  securityContext: {runAsUser: {{ kernel_uid | int }}}\n"
                    "  containers: [{name: k, env: [{name: H, value: '{{ kernel_home }}'}]}]\n");
    spec_says(fixture, "KERNEL_HOME", "/mine");
    json_object_set_new(fixture->values, "KERNEL_HOME", json_string("/mine"));
    wish(fixture, "KERNEL_Uid", "4711");
    wish(fixture, "KERNEL_Home", "/theirs");
    wish(fixture, "KERNEL_HOMe", "/theirs");
    fixture->settings.allowed = kube_wishes_free();
    json_t *pod = make(fixture);
    assert_value(pod, "spec/securityContext/runAsUser", "1000");
    assert_value(pod, "spec/containers/0/env/0/value", "\"/mine\"");
    json_decref(pod);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_the_administrators_is_not_looked_at, set_up_lab,
                                        tear_down_lab),
        cmocka_unit_test_setup_teardown(the_lab_works, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(everything_is_said_by_somebody, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(names_are_written_as_directories_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_that_are_claimed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_spec_may_use_the_name_that_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rules_and_who_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_policy_gives_nothing_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_policy_nothing_reaches_anothers_data, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(trust_is_not_shared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(prohibited_by_the_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(prohibited_groups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(variables_by_rule, set_up, tear_down),
        cmocka_unit_test(bounds_of_ids),
        cmocka_unit_test(namespaces),
        cmocka_unit_test_setup_teardown(other_spellings_are_other_names, set_up, tear_down),
        cmocka_unit_test(mistakes_in_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
