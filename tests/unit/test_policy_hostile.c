/* Requests that want what is not theirs. */
#include "policy_fixture.h"

#include "base/memory.h"

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

/* --- what the lab's gateway made of odd paths, and what this one does --- */

static void use_path(struct fixture *fixture, const char *volumes, const char *path) {
    forget(fixture);
    spec_says(fixture, "KERNEL_VOLUMES", volumes);
    spec_says(fixture, "KERNEL_VOLUME_MOUNTS", "[{name: home, mountPath: /home/jovyan}]");
    if (path != NULL)
        wish(fixture, "KERNEL_PATH", path);
}

/* The path is one text of one volume, whatever it has in it. */
static void assert_one_text(const json_t *pod, const char *path) {
    assert_int_equal(json_array_size(at(pod, "spec/volumes")), 3); /* with Elara's two */
    assert_string_equal(text_at(pod, "spec/volumes/0/nfs/path"), path);
    assert_int_equal(json_object_size(at(pod, "spec/volumes/0/nfs")), 2);
}

static void edge_table(void **state) {
    static const char bare[] = "[{name: home,nfs: {server: nfs.example.com,path: $KERNEL_PATH}}]",
                      braces[] =
                          "[{name: home,nfs: {server: nfs.example.com,path: ${KERNEL_PATH}}}]",
                      json[] = "[{\"name\": \"home\", \"nfs\": {\"server\": \"nfs.example.com\", "
                               "\"path\": \"$KERNEL_PATH\"}}]";
    static const char is_not_hers[] = "policy.yaml line 2 (volumes.nfs)";
    /* NULL: accepted. trusted: kubernetes-allow has KERNEL_PATH; judged: a policy has {user}. */
    static const struct {
        const char *situation, *volumes, *path, *trusted, *judged;
    } rows[] = {
        {"her own", bare, "/claim/alice", NULL, NULL},
        {"missing", bare, NULL, "${KERNEL_PATH} has no value", "${KERNEL_PATH} has no value"},
        {"an address, raw", bare, "/claim/alice@example.com", NULL, is_not_hers},
        {"upper case", bare, "/claim/Alice", NULL, is_not_hers},
        {"underscore", bare, "/claim/al_ice", NULL, is_not_hers},
        {"full stop", bare, "/claim/al.ice", NULL, is_not_hers},
        {"hyphen", bare, "/claim/al-ice", NULL, is_not_hers},
        {"empty", bare, "/claim/", "empty part", "empty part"},
        {"two full stops", bare, "/claim/..", "\"..\"", "\"..\""},
        {"a comma", bare, "/claim/a,b", NULL, is_not_hers},
        {"a volume's option", bare, "/claim/x, readOnly: true", NULL, is_not_hers},
        {"another volume", bare, "/claim/x}},{\"name\":h,\"hostPath\":{\"path\":/", "empty part",
         "empty part"},
        {"another volume, whole", bare, "/claim/x}},{\"name\":h,\"hostPath\":{\"path\":/etc", NULL,
         is_not_hers},
        {"a mapping", bare, "/claim/a: b", NULL, is_not_hers},
        {"a comment", bare, "/claim/a #b", NULL, is_not_hers},
        {"a brace", bare, "/claim/a}b", NULL, is_not_hers},
        {"a template", bare, "/claim/{{ x }}", NULL, is_not_hers},
        {"a line break", bare, "/claim/a\nb", "control character", "control character"},
        {"braces around the reference", braces, "/claim/alice", NULL, NULL},
        {"JSON", json, "/claim/alice", NULL, NULL},
    };
    static char path[] = "KERNEL_PATH";
    static char *const named[] = {path, NULL};
    struct fixture *fixture = *state;
    struct policy *policy =
        policy_of("variables: {allow: [KERNEL_PATH]}\n"
                  "volumes: {nfs: [{server: nfs.example.com, paths: ['/claim/{user}']}]}\n");
    fixture->plan.identity.owner = "alice";
    fixture->settings.allowed = kube_wishes_free();
    fixture->settings.trusted = named;
    for (size_t i = 0; i < 2 * (sizeof rows / sizeof *rows); i++) {
        bool is_judged = i % 2 == 1;
        const char *expected = is_judged ? rows[i / 2].judged : rows[i / 2].trusted;
        print_message("%s%s\n", rows[i / 2].situation, is_judged ? ", with a policy" : "");
        fixture->settings.policy = is_judged ? policy : NULL;
        use_path(fixture, rows[i / 2].volumes, rows[i / 2].path);
        if (expected != NULL) {
            denied(fixture, "KERNEL_", expected);
            continue;
        }
        json_t *pod = make(fixture);
        assert_one_text(pod, rows[i / 2].path);
        json_decref(pod);
    }
    /* The client's own list, which took the place of the kernelspec's: it is not looked at. */
    for (int i = 0; i < 2; i++) {
        fixture->settings.policy = i == 1 ? policy : NULL;
        use_path(fixture, bare, "/claim/alice");
        wish(fixture, "KERNEL_VOLUMES", "[{name: home, hostPath: {path: /}}]");
        json_t *pod = make(fixture);
        assert_one_text(pod, "/claim/alice");
        json_decref(pod);
    }
    fixture->settings.policy = NULL;
    policy_destroy(policy);
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

static void use_form(struct fixture *fixture, const char *template, bool is_jinja) {
    if (is_jinja)
        fixture->plan.template = fixture->template = json_string(template);
    else
        use_template(fixture, template);
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
        use_form(fixture, rows[i].template, rows[i].is_jinja);
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

/* Other names of what a policy counts, and ports of the node. */
static void amounts_and_ports_smuggle_nothing(void **state) {
    static const struct {
        const char *container, *value, *expected; /* NULL: allowed */
    } rows[] = {
        {"resources: {limits: {amd.com/gpu: '${KERNEL_N}'}}", "2", "(resources.gpus.max)"},
        {"resources: {limits: {amd.com/gpu: '${KERNEL_N}'}}", "1", NULL},
        {"resources: {limits: {nvidia.com/gpu: '${KERNEL_N}'}}", "2", "(resources.gpus.max)"},
        {"resources: {requests: {nvidia.com/mig-1g.5gb: '${KERNEL_N}'}}", "8",
         "(resources.gpus.max)"},
        {"resources: {limits: {hugepages-2Mi: '${KERNEL_N}'}}", "9Gi", "(resources.memory.max)"},
        {"resources: {limits: {cpu: '${KERNEL_N}'}}", "5", "(resources.cpus.max)"},
        {"resources: {claims: [{name: '${KERNEL_N}'}]}", "all", "resources.claims[0].name"},
        {"ports: [{containerPort: '${KERNEL_N}'}]", "8080", NULL},
        {"ports: [{containerPort: 80, hostPort: '${KERNEL_N}'}]", "22", "ports[0].hostPort"},
        {"ports: [{containerPort: 80, hostIP: '${KERNEL_N}'}]", "10.0.0.1", "ports[0].hostIP"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 2 * (sizeof rows / sizeof *rows); i++) {
        char template[256];
        bool is_beside = i % 2 == 1; /* in another container */
        snprintf(template, sizeof template, "spec: {containers: [{name: kernel%s%s}]}",
                 is_beside ? "}, {name: s, image: s, " : ", ", rows[i / 2].container);
        forget(fixture);
        use_template(fixture, template);
        wish(fixture, "KERNEL_N", rows[i / 2].value);
        if (rows[i / 2].expected != NULL)
            denied(fixture, "KERNEL_N", rows[i / 2].expected);
        else
            json_decref(make(fixture));
    }
}

/* Nor by the environment, which the node puts into subPathExpr. */
static void environments_smuggle_nothing(void **state) {
    static const struct {
        const char *template;
        bool is_jinja;
    } rows[] = {
        {"spec: {volumes: [{name: v, nfs: {server: s, path: /x}}], containers: [{name: k, env: "
         "[{name: "
         "A, value: '${KERNEL_Y}'}, {name: B, value: x$$(A)}], volumeMounts: [{name: v, mountPath: "
         "/h, subPathExpr: $$(B)}]}]}",
         false},
        {"metadata: {labels: {a: '${KERNEL_Y}'}}\nspec: {volumes: [{name: v, nfs: {server: s, "
         "path: "
         "/x}}], containers: [{name: k, env: [{name: A, valueFrom: {fieldRef: {fieldPath: "
         "\"metadata.labels['a']\"}}}], volumeMounts: [{name: v, mountPath: /h, subPathExpr: "
         "$$(A)}]}]}",
         false},
        {"kind: Pod\nspec:\n  volumes: [{name: v, nfs: {server: s, path: /x}}]\n  containers: "
         "[{name: k, volumeMounts: [{name: v, mountPath: /h, subPathExpr: $(KERNEL_UID)}]}]\n",
         true},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        forget(fixture);
        use_form(fixture, rows[i].template, rows[i].is_jinja);
        wish(fixture, "KERNEL_Y", "theirs");
        wish(fixture, "KERNEL_UID", "1001");
        denied(fixture, "KERNEL_", "subPathExpr is not allowed");
    }
}

/* Nor do variables of the kernelspec that are made of a client's. */
static void kernelspecs_smuggle_nothing(void **state) {
    struct fixture *fixture = *state;
    forget(fixture);
    use_template(fixture, "spec: {volumes: [{name: x, nfs: {server: nfs.example.com, path: "
                          "'${KERNEL_DIRECTORY}'}}], containers: [{name: k}]}");
    spec_says(fixture, "KERNEL_DIRECTORY", "${KERNEL_BASE}/x");
    spec_says(fixture, "KERNEL_BASE", "${KERNEL_X}");
    wish(fixture, "KERNEL_X", "/export/home/bob");
    json_object_set_new(fixture->values, "KERNEL_DIRECTORY", json_string("/export/home/bob/x"));
    denied(fixture, "KERNEL_DIRECTORY", nfs_line);
    forget(fixture);
    spec_says(fixture, "KERNEL_IMAGE", "evil/${KERNEL_X}");
    wish(fixture, "KERNEL_X", "py");
    denied(fixture, "KERNEL_IMAGE", "(images)");
    forget(fixture);
    spec_says(fixture, "KERNEL_X", "/export/home/${KERNEL_Y}"); /* the client's own is not heard */
    use_lab_spec(fixture);
    spec_says(fixture, "KERNEL_PATH", "${KERNEL_X}");
    wish(fixture, "KERNEL_X", "/export/home/ann");
    wish(fixture, "KERNEL_Y", "bob");
    json_object_set_new(fixture->values, "KERNEL_PATH", json_string("/export/home/ann"));
    denied(fixture, "KERNEL_", nfs_line);
}

static void ways_in_by_a_link(void **state) {
    (void)state;
    static const char text[] = "volumes:\n"
                               "  nfs:\n"
                               "    - {server: s, paths: ['/a/{user}', /a/**]}\n"
                               "    - {server: s, paths: [/b/**], read_only: true}\n"
                               "rules:\n"
                               "- when: {users: [ann]}\n"
                               "  volumes: {nfs: [{server: s, paths: [/c/**]}]}\n";
    struct error err = {0};
    struct policy *policy = NULL;
    assert_int_equal(policy_file_parse(text, strlen(text), "policy.yaml", NULL, &policy, &err), 0);
    json_t *doubts = policy_file_doubts(policy);
    assert_int_equal(json_array_size(doubts), 2);
    assert_has(json_string_value(json_array_get(doubts, 0)),
               "policy.yaml:3: volumes.nfs[0].paths[1]: who mounts what is below \"/a/**\"");
    assert_has(json_string_value(json_array_get(doubts, 1)),
               "policy.yaml:7: rules[0].volumes.nfs[0].paths[0]: ");
    json_decref(doubts);
    policy_destroy(policy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hostile_paths, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(edge_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_variables, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(hostile_mounts, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(templates_smuggle_nothing, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(amounts_and_ports_smuggle_nothing, set_up_lab,
                                        tear_down_lab),
        cmocka_unit_test_setup_teardown(environments_smuggle_nothing, set_up_lab, tear_down_lab),
        cmocka_unit_test_setup_teardown(kernelspecs_smuggle_nothing, set_up_lab, tear_down_lab),
        cmocka_unit_test(ways_in_by_a_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
