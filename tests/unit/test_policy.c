#include "kube_plan.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "launcher/policy_file.h"

#include <stdio.h>

static const char lab[] =
    "# what the lab's requests may do\n"
    "variables: {allow: ['KERNEL_*']}\n"
    "images: [registry.example.com/lab/*, 'pinned.example.com/py@sha256:*']\n"
    "volumes:\n"
    "  types: [nfs, persistentVolumeClaim, emptyDir]\n"
    "  nfs:\n"
    "  - {server: nfs.example.com, paths: ['/export/home/{user}', /export/shared/**]}\n"
    "  - {server: nfs.example.com, paths: [/export/data], read_only: true}\n"
    "  claims: ['scratch-*', 'homes/{user}']\n"
    "uid: {from: 1000, to: 1999, prohibited: [0, 1234]}\n"
    "gid: {from: 100, to: 100}\n"
    "namespaces: ['team-{user}']\n"
    "service_accounts: [spark]\n"
    "resources: {cpus: {max: 4, default: 500m}, memory: {max: 8Gi}, gpus: {max: 1}}\n"
    "env: {bytes: 20000, count: 20, names: ['MY_*']}\n";

static struct policy *policy_of(const char *yaml) {
    struct error err = {0};
    struct policy *policy = NULL;
    if (policy_file_parse(yaml, strlen(yaml), "policy.yaml", NULL, &policy, &err) < 0)
        fail_msg("%s", err.text);
    return policy;
}

/* The lab's kernelspec: what the notebook server says is its home. */
static void use_lab_spec(struct fixture *fixture) {
    spec_says(fixture, "KERNEL_VOLUMES",
              "[{name: home, nfs: {server: nfs.example.com, path: $KERNEL_PATH}}]");
    spec_says(fixture, "KERNEL_VOLUME_MOUNTS", "[{name: home, mountPath: /home/jovyan}]");
}

static void forget(struct fixture *fixture) {
    json_object_clear(fixture->client);
    json_object_clear(fixture->spec_env);
    json_object_clear(fixture->values);
    json_decref(fixture->template);
    fixture->template = NULL;
    fixture->plan.template = NULL;
}

static void denied(struct fixture *fixture, const char *variable, const char *expected) {
    struct error err = {0};
    json_t *pod = NULL;
    if (kube_pod_create(&fixture->plan, &pod, &err) == 0)
        fail_msg("made, though %s: %s", variable, expected);
    assert_null(pod);
    if (strstr(err.text, variable) == NULL || strstr(err.text, expected) == NULL)
        fail_msg("\"%s\" without \"%s\" and \"%s\"", err.text, variable, expected);
    assert_true(err.code == ERROR_DENIED || err.code == ERROR_INVALID || err.code == ERROR_LIMIT);
}

/* --- hostile requests --- */

static const char types_line[] = "policy.yaml line 5 (volumes.types)";
static const char nfs_line[] = "policy.yaml line 6 (volumes.nfs)";

static void hostile_paths(void **state) {
    static const struct {
        const char *path, *expected;
    } rows[] = {
        {"/export/home/bob", nfs_line},
        {"/export/home/ann2", nfs_line},
        {"/export/home/an", nfs_line},
        {"/export/home", nfs_line},
        {"/export/home/", "empty part"},
        {"/export/home/ann/", "empty part"},
        {"/export/home/ann/link", nfs_line},
        {"/", "empty part"},
        {"//", "empty part"},
        {"/export/home//ann", "empty part"},
        {"/export/home/ann/..", "\"..\""},
        {"/export/home/ann/../bob", "\"..\""},
        {"/export/home/./ann", "\".\""},
        {"/export/home/ANN", nfs_line},
        {"/export/home/ann ", nfs_line},
        {"/export/home/ann\xe2\x80\x8b", "cannot be seen"},
        {"/export/home\xe2\x88\x95"
         "ann",
         "cannot be seen or looks like"},
        {"/export/home\xef\xbc\x8f"
         "ann",
         "cannot be seen or looks like"},
        {"/export/home/\xef\xbc\x8e\xef\xbc\x8e", "cannot be seen or looks like"},
        {"/export/home/\xe2\x80\xa5/bob", "cannot be seen or looks like"},
        {"/export/shared/\xe2\x80\xae"
         "bob",
         "cannot be seen or looks like"},
        {"/export/home/\xd0\xb0nn", nfs_line}, /* a Cyrillic a */
        {"/export/shared\\..\\home", "backslash"},
        {"/export/sharedX/a", nfs_line},
        {"/export/data", "without readOnly: true"},
        {"export/home/ann", "begin with /"},
        {"/export/home/ann\n", "control character"},
        {"/export/home/ann\x7f", "control character"},
        {"/export/home/ann, readOnly: false", nfs_line},
        {"/export/home/ann}},{\"name\":h,\"hostPath\":{\"path\":/", "empty part"},
        {"/export/home/ann'}}, {name: x, hostPath: {path: '/", "empty part"},
        {"/export/home/{user}", nfs_line},
        {"/export/home/*", nfs_line},
        {"/export/home/${KERNEL_USERNAME}", nfs_line},
        {"/export/home/ann #", nfs_line},
        {"a: b", "begin with /"},
        {"&anchor /export", "begin with /"},
        {"!!python/object /", "empty part"},
        {"{{ kernel_path }}", "begin with /"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        use_lab_spec(fixture);
        wish(fixture, "KERNEL_PATH", rows[i].path);
        denied(fixture, "", rows[i].expected);
    }
    forget(fixture);
    use_lab_spec(fixture);
    char *long_path = memory_alloc(1 << 20);
    memset(long_path, 'a', (1 << 20) - 1);
    memcpy(long_path, "/export/shared/", 15);
    wish(fixture, "KERNEL_PATH", long_path);
    denied(fixture, "KERNEL_PATH", "more than 20000 bytes");
    long_path[2000] = '\0';
    wish(fixture, "KERNEL_PATH", long_path);
    denied(fixture, "KERNEL_PATH", "too long");
    free(long_path);
}

static void hostile_variables(void **state) {
    static const struct {
        const char *name, *value, *expected;
    } rows[] = {
        {"KERNEL_VOLUMES", "[{name: r, hostPath: {path: /}}]", "hostPath / is not allowed"},
        {"KERNEL_VOLUMES", "[{name: r, hostPath: {path: /}}]", types_line},
        {"KERNEL_VOLUMES", "[{\"name\": \"r\", \"hostPath\": {\"path\": \"/etc\"}}]", types_line},
        {"KERNEL_VOLUMES", "[{name: e, emptyDir: {}}, {name: r, hostPath: {path: /}}]", types_line},
        {"KERNEL_VOLUMES", "[{name: s, secret: {secretName: elara-kernel-bob}}]", types_line},
        {"KERNEL_VOLUMES", "[{name: s, projected: {sources: [{secret: {name: s}}]}}]", types_line},
        {"KERNEL_VOLUMES", "[{name: s, csi: {driver: d}}]", types_line},
        {"KERNEL_VOLUMES", "[{name: s, configMap: {name: c}}]", types_line},
        {"KERNEL_VOLUMES", "[{name: s, emptyDir: {}, hostPath: {path: /}}]", "one source"},
        {"KERNEL_VOLUMES", "[{name: n, nfs: {server: evil.example.com, path: /export/home/ann}}]",
         nfs_line},
        {"KERNEL_VOLUMES", "[{name: n, nfs: {server: nfs.example.com, path: /export/home/bob}}]",
         nfs_line},
        {"KERNEL_VOLUMES", "[{name: n, nfs: {server: nfs.example.com., path: /export/home/ann}}]",
         nfs_line},
        {"KERNEL_VOLUMES", "[{name: n, nfs: {server: nfs.example.com, path: /export/data}}]",
         "without readOnly: true"},
        {"KERNEL_VOLUMES", "[{name: c, persistentVolumeClaim: {claimName: bobs}}]",
         "(volumes.claims)"},
        {"KERNEL_VOLUMES", "&a [{name: r, hostPath: {path: /}}]", "anchors"},
        {"KERNEL_VOLUMES", "[*a]", "aliases"},
        {"KERNEL_VOLUMES", "!!map {name: r}", "tags"},
        {"KERNEL_VOLUMES", "[{<<: {hostPath: {path: /}}, name: x}]", "merge keys"},
        {"KERNEL_VOLUMES", "{name: r, hostPath: {path: /}}", "list"},
        {"KERNEL_VOLUMES", "[{name: r, hostPath: {path: {path: /}}}]", "path"},
        {"KERNEL_VOLUMES", "[[{name: r, hostPath: {path: /}}]]", "KERNEL_VOLUMES"},
        {"KERNEL_VOLUMES", "[{name: elara-key, emptyDir: {}}]", "Elara's own"},
        {"KERNEL_VOLUMES", "[{name: r, hostPath: {path: /}", "KERNEL_VOLUMES"},
        {"KERNEL_IMAGE", "evil.example.com/miner", "policy.yaml line 3 (images)"},
        {"KERNEL_IMAGE", "registry.example.com.evil.example.com/lab/x", "line 3 (images)"},
        {"KERNEL_IMAGE", "pinned.example.com/py:latest", "line 3 (images)"},
        {"KERNEL_IMAGE", "registry.example.com/other", "line 3 (images)"},
        {"KERNEL_UID", "0", "0 is root"},
        {"KERNEL_UID", "999", "line 10 (uid.from)"},
        {"KERNEL_UID", "2000", "line 10 (uid.to)"},
        {"KERNEL_UID", "1234", "line 10 (uid.prohibited)"},
        {"KERNEL_UID", "-1", "KERNEL_UID"},
        {"KERNEL_UID", "4294967296", "KERNEL_UID"},
        {"KERNEL_GID", "101", "line 11 (gid.to)"},
        {"KERNEL_SERVICE_ACCOUNT_NAME", "admin", "line 13 (service_accounts)"},
        {"KERNEL_CPUS", "5", "line 14 (resources.cpus.max)"},
        {"KERNEL_CPUS_LIMIT", "64", "line 14 (resources.cpus.max)"},
        {"KERNEL_MEMORY", "9Gi", "line 14 (resources.memory.max)"},
        {"KERNEL_MEMORY_LIMIT", "8193Mi", "line 14 (resources.memory.max)"},
        {"KERNEL_GPUS", "2", "line 14 (resources.gpus.max)"},
        {"LD_PRELOAD", "/tmp/x.so", "line 15 (env.names)"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        if (strcmp(rows[i].name, "KERNEL_GID") == 0)
            wish(fixture, "KERNEL_UID", "1000");
        wish(fixture, rows[i].name, rows[i].value);
        denied(fixture, rows[i].name, rows[i].expected);
    }
    forget(fixture);
    for (int i = 0; i < 21; i++) {
        char name[32];
        snprintf(name, sizeof name, "KERNEL_X%d", i);
        wish(fixture, name, "1");
    }
    denied(fixture, "env", "21 variables is not allowed: policy.yaml line 15 (env.count)");
}

/* Mounts of the administrator's volumes. */
static void hostile_mounts(void **state) {
    static const char template[] =
        "spec:\n"
        "  volumes:\n"
        "  - {name: homes, persistentVolumeClaim: {claimName: homes}}\n"
        "  - {name: keys, secret: {secretName: keys}}\n"
        "  - {name: all, nfs: {server: nfs.example.com, path: /export/home}}\n"
        "  containers: [{name: kernel}, {name: side, image: s, volumeMounts: "
        "[{name: keys, mountPath: /k}]}]\n";
    static const struct {
        const char *mounts, *expected; /* NULL: allowed */
    } rows[] = {
        {"[{name: homes, mountPath: /h, subPath: ann}]", NULL},
        {"[{name: homes, mountPath: /h, subPath: bob}]", "homes/bob is not allowed"},
        {"[{name: homes, mountPath: /h}]", "(volumes.claims)"},
        {"[{name: homes, mountPath: /h, subPath: ann/../bob}]", ".."},
        {"[{name: homes, mountPath: /h, subPath: ann/link}]", "(volumes.claims)"},
        {"[{name: homes, mountPath: /h, subPathExpr: $(KERNEL_USERNAME)}]", "subPathExpr"},
        {"[{name: homes, mountPath: /h, subPath: ann, mountPropagation: Bidirectional}]",
         "mountPropagation"},
        {"[{name: keys, mountPath: /k}]", "secret is not allowed"},
        {"[{name: all, mountPath: /h, subPath: ann}]", NULL},
        {"[{name: all, mountPath: /h, subPath: bob}]", "/export/home/bob is not allowed"},
        {"[{name: all, mountPath: /h}]", nfs_line},
        {"[{name: elara-key, mountPath: /h}]", "Elara's own"},
        {"[{name: homes, mountPath: /etc/elara/x, subPath: ann}]", "must not hide"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        use_template(fixture, template);
        wish(fixture, "KERNEL_VOLUME_MOUNTS", rows[i].mounts);
        if (rows[i].expected != NULL)
            denied(fixture, "KERNEL_VOLUME_MOUNTS", rows[i].expected);
        else
            json_decref(make(fixture));
    }
}

/* A template carries a value to where no variable of its own is for. */
static void templates_smuggle_nothing(void **state) {
    static const struct {
        const char *template, *expected;
        bool is_jinja;
    } rows[] = {
        {"spec: {volumes: [{name: x, hostPath: {path: '${KERNEL_X}'}}], containers: [{name: k}]}",
         types_line, false},
        {"spec: {volumes: [{name: x, nfs: {server: nfs.example.com, path: '${KERNEL_X}'}}], "
         "containers: [{name: k}]}",
         nfs_line, false},
        {"spec: {volumes: [{name: x, secret: {secretName: '$KERNEL_Y'}}], containers: [{name: k}]}",
         types_line, false},
        {"spec: {containers: [{name: k}, {name: s, image: '${KERNEL_Y}'}]}", "(images)", false},
        {"spec: {containers: [{name: k, image: 'evil/${KERNEL_Y}'}]}", "(images)", false},
        {"spec: {initContainers: [{name: s, image: '${KERNEL_Y}'}], containers: [{name: k}]}",
         "(images)", false},
        {"spec: {containers: [{name: k, env: [{name: P, valueFrom: {secretKeyRef: "
         "{name: '${KERNEL_Y}', key: k}}}]}]}",
         "spec.containers[0].env[0].valueFrom", false},
        {"spec: {containers: [{name: k, envFrom: [{secretRef: {name: '${KERNEL_Y}'}}]}]}",
         "envFrom", false},
        {"spec: {serviceAccountName: '${KERNEL_Y}', containers: [{name: k}]}", "service account",
         false},
        {"spec: {runtimeClassName: '${KERNEL_Y}', containers: [{name: k}]}", "runtimeClassName",
         false},
        {"spec: {securityContext: {runAsUser: '${KERNEL_N}'}, containers: [{name: k}]}",
         "(uid.from)", false},
        {"spec: {securityContext: {supplementalGroups: ['${KERNEL_N}']}, containers: [{name: k}]}",
         "(gid.from)", false},
        {"spec: {imagePullSecrets: [{name: '${KERNEL_Y}'}], containers: [{name: k}]}",
         "imagePullSecrets", false},
        {"spec: {containers: [{name: k, securityContext: {seLinuxOptions: {level: "
         "'${KERNEL_Y}'}}}]}",
         "seLinuxOptions", false},
        {"kind: Pod\nspec:\n  volumes: [{name: x, hostPath: {path: '{{ kernel_x }}'}}]\n"
         "  containers: [{name: k}]\n",
         types_line, true},
        {"kind: Pod\nspec:\n  securityContext: {runAsUser: {{ kernel_n | int }}}\n"
         "  containers: [{name: k}]\n",
         "(uid.from)", true},
        {"kind: Pod\nspec:\n  containers: [{name: k, image: '{{ kernel_y }}'}]\n", "(images)",
         true},
        {"kind: Pod\nspec:\n  containers: [{name: k}]\n  volumes:\n"
         "  {% for v in kernel_volumes %}\n  - {{ v }}\n  {% endfor %}\n",
         nfs_line, true},
        {"kind: Pod\nspec:\n  containers: [{name: k}]\n  volumes: {{ kernel_volumes }}\n", nfs_line,
         true},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        if (rows[i].is_jinja)
            fixture->plan.template = fixture->template = json_string(rows[i].template);
        else
            use_template(fixture, rows[i].template);
        spec_says(fixture, "KERNEL_VOLUMES",
                  rows[i].expected == nfs_line && rows[i].is_jinja
                      ? "[{name: o, emptyDir: {}}, {name: h, nfs: "
                        "{server: nfs.example.com, path: $KERNEL_X}}]"
                      : "[{name: o, emptyDir: {}}]");
        fixture->settings.image = "of.setting.example.com/py";
        wish(fixture, "KERNEL_X", "/export/home/bob");
        wish(fixture, "KERNEL_Y", "theirs");
        wish(fixture, "KERNEL_N", "33");
        denied(fixture, "KERNEL_", rows[i].expected);
    }
}

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

/* --- every request that is accepted mounts what is allowed, and nothing else --- */

static unsigned long next(unsigned long *seed) {
    *seed = *seed * 6364136223846793005UL + 1442695040888963407UL;
    return *seed >> 33;
}

static void random_text(unsigned long *seed, const char *const *parts, size_t count, size_t most,
                        char *ret, size_t size) {
    size_t length = 0;
    ret[0] = '\0';
    for (size_t n = next(seed) % (most + 1); n > 0; n--) {
        const char *part = parts[next(seed) % count];
        if (length + strlen(part) + 1 < size)
            length += (size_t)sprintf(ret + length, "%s", part);
    }
}

/* Written anew, so that it does not share the policy's mistakes. */
static void assert_mounts_allowed(const json_t *pod) {
    const json_t *volumes = at(pod, "spec/volumes");
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        const json_t *volume = json_array_get(volumes, i), *nfs = json_object_get(volume, "nfs");
        const char *name = text_at(volume, "name");
        if (strncmp(name, "elara", 5) == 0 || json_object_get(volume, "emptyDir") != NULL)
            continue;
        if (nfs == NULL) {
            const char *claim = text_at(volume, "persistentVolumeClaim/claimName");
            assert_non_null(claim);
            assert_true(strncmp(claim, "scratch-", 8) == 0 || strcmp(claim, "homes") == 0);
            continue;
        }
        const char *path = text_at(nfs, "path");
        assert_string_equal(text_at(nfs, "server"), "nfs.example.com");
        assert_null(strstr(path, ".."));
        assert_null(strstr(path, "//"));
        assert_true(
            strcmp(path, "/export/home/ann") == 0 || strcmp(path, "/export/shared") == 0 ||
            strncmp(path, "/export/shared/", 15) == 0 ||
            (strcmp(path, "/export/data") == 0 && json_is_true(json_object_get(nfs, "readOnly"))));
    }
    const json_t *mounts = at(pod, "spec/containers/0/volumeMounts");
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *mount = json_array_get(mounts, i);
        const char *sub_path = text_at(mount, "subPath");
        if (strcmp(text_at(mount, "name"), "homes") == 0)
            assert_true(sub_path != NULL && strcmp(sub_path, "ann") == 0);
    }
}

static void accepted_requests_mount_what_is_allowed(void **state) {
    static const char *const parts[] = {"/export",
                                        "/home",
                                        "/shared",
                                        "/data",
                                        "/ann",
                                        "/bob",
                                        "/..",
                                        "/.",
                                        "/",
                                        "ann",
                                        "..",
                                        "*",
                                        "{user}",
                                        " ",
                                        "}}",
                                        "\xe2\x88\x95",
                                        ", readOnly: true"};
    static const char *const wishes[] = {
        "{name: e, emptyDir: {}}",
        "{name: h, hostPath: {path: /}}",
        "{name: n, nfs: {server: nfs.example.com, path: /export/home/ann}}",
        "{name: m, nfs: {server: nfs.example.com, path: /export/home/bob}}",
        "{name: d, nfs: {server: nfs.example.com, path: /export/data, readOnly: true}}",
        "{name: c, persistentVolumeClaim: {claimName: scratch-1}}",
        "{name: homes, persistentVolumeClaim: {claimName: homes}}",
        "{name: s, secret: {secretName: s}}",
        ", ",
        ", ",
        ", "};
    static const char *const mounts[] = {"{name: homes, mountPath: /h, subPath: ann}",
                                         "{name: homes, mountPath: /h, subPath: bob}",
                                         "{name: homes, mountPath: /h}",
                                         "{name: n, mountPath: /n}",
                                         "{name: home, mountPath: /x}",
                                         "{name: c, mountPath: /c, subPath: x}",
                                         ", ",
                                         ", "};
    struct fixture *fixture = *state;
    unsigned long seed = 7;
    size_t made = 0;
    for (int i = 0; i < 20000; i++) {
        char path[256], list[1024], text[1100];
        forget(fixture);
        if (next(&seed) % 2 == 0)
            use_lab_spec(fixture);
        random_text(&seed, parts, sizeof parts / sizeof *parts, 4, path, sizeof path);
        wish(fixture, "KERNEL_PATH", path);
        if (next(&seed) % 2 == 0) {
            random_text(&seed, wishes, sizeof wishes / sizeof *wishes, 3, list, sizeof list);
            snprintf(text, sizeof text, "[%s]", list);
            wish(fixture, "KERNEL_VOLUMES", text);
        }
        if (next(&seed) % 3 == 0) {
            random_text(&seed, mounts, sizeof mounts / sizeof *mounts, 3, list, sizeof list);
            snprintf(text, sizeof text, "[%s]", list);
            wish(fixture, "KERNEL_VOLUME_MOUNTS", text);
        }
        json_t *pod = NULL;
        if (kube_pod_create(&fixture->plan, &pod, NULL) < 0)
            continue;
        made++;
        assert_mounts_allowed(pod);
        json_decref(pod);
    }
    assert_in_range(made, 500, 19000);
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

static int set_up_lab(void **state) {
    set_up(state);
    ((struct fixture *)*state)->settings.policy = policy_of(lab);
    return 0;
}

static int tear_down_lab(void **state) {
    struct fixture *fixture = *state;
    policy_destroy((struct policy *)(uintptr_t)fixture->settings.policy);
    return tear_down(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hostile_paths, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(hostile_variables, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(hostile_mounts, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(templates_smuggle_nothing, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(what_is_the_administrators_is_not_looked_at, set_up_lab,
                                        tear_down_lab),
        cmocka_unit_test_setup_teardown(the_lab_works, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(names_are_written_as_directories_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_that_are_claimed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_spec_may_use_the_name_that_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rules_and_who_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_policy_gives_nothing_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(prohibited_by_the_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(accepted_requests_mount_what_is_allowed, set_up_lab,
                                        tear_down_lab),
        cmocka_unit_test(mistakes_in_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
