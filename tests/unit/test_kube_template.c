#include "kube_trees.h"

#include "base/error.h"
#include "launcher/kube_quantity.h"
#include "launcher/kube_template.h"
#include "launcher/kube_volumes.h"
#include "launcher/kube_wishes.h"

#include <stdio.h>
#include <unistd.h>

#define C "spec:\n  containers:\n  - name: kernel\n    "
#define S "spec:\n  containers: [{name: kernel}]\n  "

static const struct {
    const char *yaml, *expected; /* NULL: it is fine */
} templates[] = {
    {C "image: x", NULL},
    {"spec: {containers: [{}]}", NULL},
    {"spec: {containers: [{name: a, image: x}, {name: kernel, image: y}]}", NULL},
    {"metadata: {labels: {team: a}, annotations: {x: y}}\n" C "image: x", NULL},
    {"metadata: {creationTimestamp: null}\n" C "image: x", NULL},
    {"metadata: null\n" C "image: x", NULL},
    {S "futureField: {a: 1}", NULL},
    {S "securityContext: {runAsUser: '${KERNEL_UID}'}", NULL},
    {"[]", "pod.yaml: must be a pod's template: a mapping"},
    {"", "pod.yaml: must be a pod's template"},
    {"kind: Pod\napiVersion: v1\n" C "image: x",
     "pod.yaml: kind: a Pod, but a PodTemplateSpec is wanted: take out apiVersion, kind"},
    {"kind: PodTemplate\ntemplate: {}", "keep only what stands below \"template\""},
    {"kind: Deployment\nspec: {}", "keep only what stands below spec.template"},
    {"apiVersion: v1\n" C "image: x", "pod.yaml: apiVersion: does not belong here"},
    {"status: {}\n" C "image: x", "pod.yaml: status: does not belong here"},
    {"metadata: {}", "pod.yaml: spec: must be there"},
    {"spec: []", "pod.yaml: spec: must be a mapping"},
    {"spec: {}", "pod.yaml: spec.containers: must be there"},
    {"spec: {containers: []}", "pod.yaml: spec.containers: must have the kernel's container"},
    {"spec: {containers: {}}", "pod.yaml: spec.containers: must be a list"},
    {"spec: {containers: [x]}", "pod.yaml: spec.containers[0]: must be a mapping"},
    {"spec: {containers: [{name: kernel, image: 5}]}",
     "pod.yaml: spec.containers[0].image: must be a text (put it in quotes)"},
    {"spec: {containers: [{name: kernel, image: [x]}]}",
     "pod.yaml: spec.containers[0].image: must be a text"},
    {"spec: {containers: [{name: a}, {image: x}]}",
     "pod.yaml: spec.containers[1].name: must be there"},
    {"metadata: {name: x}\n" C "image: x", "pod.yaml: metadata.name: take it out"},
    {"metadata: {namespace: x}\n" C "image: x", "pod.yaml: metadata.namespace: take it out"},
    {"metadata: {finalizers: [x]}\n" C "image: x", "metadata.finalizers: take it out"},
    {"metadata: {ownerReferences: []}\n" C "image: x", "metadata.ownerReferences: take it out"},
    {"metadata: 5\n" C "image: x", "pod.yaml: metadata: must be a mapping"},
    {"metadata: {labels: [x]}\n" C "image: x", "metadata.labels: must be a mapping"},
    {"metadata: {labels: {a/b: 1}}\n" C "image: x", "metadata.labels[\"a/b\"]: must be a text"},
    {"metadata: {labels: {app: mine}}\n" C "image: x", "metadata.labels.app: Elara sets it"},
    {"metadata: {labels: {elara.kernel: x}}\n" C "image: x",
     "metadata.labels[\"elara.kernel\"]: Elara sets it"},
    {"metadata: {annotations: {elara.owner: x}}\n" C "image: x", "Elara sets it"},
    {C "command: [sh]", "spec.containers[0].command: take it out"},
    {C "args: [x]", "spec.containers[0].args: take it out"},
    {"spec: {containers: [{name: a, command: [sh]}, {name: kernel}]}", NULL},
    {C "env: [{value: x}]", "spec.containers[0].env[0].name: must be there"},
    {C "env: {A: b}", "spec.containers[0].env: must be a list"},
    {C "env: [{name: A, value: 1}]", "spec.containers[0].env[0].value: must be a text"},
    {C "ports: [{containerPort: http}]", "ports[0].containerPort: must be a whole number"},
    {C "ports: [{containerPort: '80'}]", "must be a whole number without quotes"},
    {C "ports: [{containerPort: 80, name: elara-link}]", "\"elara-link\" is Elara's own"},
    {C "resources: {limits: {memory: 4GB}}",
     "spec.containers[0].resources.limits.memory: \"4GB\" must be an amount such as"},
    {C "resources: {limits: {memory: '${KERNEL_MEMORY}'}}", NULL},
    {C "resources: {limits: {cpu: 2}}", NULL},
    {C "resources: {limits: {cpu: -2}}", "must be an amount"},
    {C "resources: {limits: [cpu]}", "limits: must be a mapping of names to amounts"},
    {C "volumeMounts: [{name: elara, mountPath: /x}]", "\"elara\" is Elara's own"},
    {C "volumeMounts: [{name: v, mountPath: /opt/elara/bin}]", "must not hide /opt/elara"},
    {C "volumeMounts: [{name: v, mountPath: /}]", "must not hide /opt/elara"},
    {C "volumeMounts: [{name: v, mountPath: /opt/elaraX}]", NULL},
    {C "volumeMounts: [{name: v}]", "volumeMounts[0].mountPath: must be there"},
    {C "securityContext: {runAsUser: root}", "runAsUser: must be a whole number"},
    {C "securityContext: {privileged: 'yes'}", "privileged: must be true or false"},
    {S "volumes: [{name: elara-key}]", "spec.volumes[0].name: \"elara-key\" is Elara's own"},
    {S "volumes: [{name: elara-home}]", "spec.volumes[0].name: \"elara-home\" is Elara's own"},
    {C "volumeMounts: [{name: elara-home, mountPath: /x}]", "\"elara-home\" is Elara's own"},
    {C "volumeDevices: [{name: elara-home, devicePath: /x}]", "\"elara-home\" is Elara's own"},
    {S "volumes: [{name: elarahome}]", NULL},
    {S "volumes: [{name: elara-tmp}]", "spec.volumes[0].name: \"elara-tmp\" is Elara's own"},
    {S "volumes: [{name: v, nfs: {server: x}}]", "spec.volumes[0].nfs.path: must be there"},
    {S "volumes: [{nfs: {server: x, path: /y}}]", "spec.volumes[0].name: must be there"},
    {S "restartPolicy: Never", "spec.restartPolicy: must be OnFailure or left out"},
    {S "restartPolicy: OnFailure", NULL},
    {S "hostPID: true", "spec.hostPID: must be false or left out"},
    {S "shareProcessNamespace: true", "spec.shareProcessNamespace: must be false"},
    {S "hostPID: false", NULL},
    {S "ephemeralContainers: [{name: x}]", "spec.ephemeralContainers: must be left out"},
    {S "initContainers: [{name: elara-launcher}]", "initContainers[0].name: \"elara-launcher\""},
    {S "initContainers: [{image: x}]", "initContainers[0].name: must be there"},
    {S "nodeSelector: {gpu: true}", "spec.nodeSelector.gpu: must be a text (put it in quotes)"},
    {S "tolerations: [{key: gpu, tolerationSeconds: 5s}]", "tolerationSeconds: must be a whole"},
    {S "imagePullSecrets: [regcred]", "spec.imagePullSecrets[0]: must be a mapping"},
    {S "supplementalGroups: [1]", NULL},
    {S "securityContext: {supplementalGroups: [a]}", "supplementalGroups[0]: must be a whole"},
    {"spec: &a {containers: [*a]}", "pod.yaml: "},
    {"spec: {containers: [{name: kernel}]", "pod.yaml: while parsing a flow mapping: line 2"},
};

static void templates_that_are_wrong(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        struct error err = {0};
        json_t *tree = NULL;
        int rc = kube_template_parse(templates[i].yaml, strlen(templates[i].yaml), "pod.yaml",
                                     &tree, &err);
        if (rc == 0 && templates[i].expected != NULL)
            fail_msg("%s is taken", templates[i].yaml);
        if (rc < 0 && templates[i].expected == NULL)
            fail_msg("%s: %s", templates[i].yaml, err.text);
        if (rc < 0)
            assert_has(err.text, templates[i].expected);
        json_decref(tree);
    }
}

static void many_containers(void **state) {
    struct error err = {0};
    (void)state;
    json_t *list = json_array();
    for (int i = 0; i <= KUBE_TEMPLATE_CONTAINERS; i++)
        json_array_append_new(list, json_pack("{s:s}", "name", "x"));
    json_t *tree = json_pack("{s:{s:o}}", "spec", "containers", list);
    assert_int_equal(kube_template_check(tree, "pod.yaml", &err), -1);
    assert_has(err.text, "spec.containers: must be at most 16");
    json_decref(tree);
}

/* Values that mean something in YAML, JSON or the template itself. */
static const char *const nasty[] = {
    "x}},{\"name\":\"h\",\"hostPath\":{\"path\":\"/\"}}",
    "x, readOnly: true",
    "a: b",
    "- a\n- b",
    "\"quoted\" 'too'",
    "# comment",
    "{{ kernel_id }}",
    "${KERNEL_ID}",
    "$$",
    "*alias &anchor !!tag",
    "null",
    "true",
    "17",
    "\xc3\xa9\xe2\x80\xa8",
    "",
};

static void values_stay_one_text(void **state) {
    (void)state;
    json_t *tree = tree_of("metadata: {annotations: {a: '${KERNEL_X}'}}\n"
                           "spec:\n"
                           "  containers:\n"
                           "  - name: kernel\n"
                           "    env:\n"
                           "    - {name: A, value: $KERNEL_X}\n"
                           "    - {name: B, value: 'pre ${KERNEL_X} post $$x ${HOME}'}\n");
    for (size_t i = 0; i < sizeof nasty / sizeof *nasty; i++) {
        struct error err = {0};
        json_t *values = json_pack("{s:s, s:s}", "KERNEL_X", nasty[i], "KERNEL_ID", "k");
        json_t *filled = NULL;
        assert_int_equal(kube_template_fill(tree, values, "pod.yaml", NULL, &filled, &err), 0);
        assert_string_equal(text_at(filled, "metadata/annotations/a"), nasty[i]);
        assert_string_equal(text_at(filled, "spec/containers/0/env/0/value"), nasty[i]);
        char expected[256];
        snprintf(expected, sizeof expected, "pre %s post $x ${HOME}", nasty[i]);
        assert_string_equal(text_at(filled, "spec/containers/0/env/1/value"), expected);
        assert_int_equal(json_object_size(at(filled, "spec/containers/0/env/0")), 2);
        assert_int_equal(json_object_size(filled), 2);
        json_decref(filled);
        json_decref(values);
    }
    assert_value(tree, "metadata/annotations/a", "\"${KERNEL_X}\"");
    json_decref(tree);
}

static void values_where_they_stand(void **state) {
    static const struct {
        const char *yaml, *path, *value;
        const char *expected; /* JSON, or the error's text when it begins with "!" */
    } rows[] = {
        {S "securityContext: {runAsUser: '${KERNEL_X}'}", "spec/securityContext/runAsUser", "1000",
         "1000"},
        {S "securityContext: {runAsUser: $KERNEL_X}", "spec/securityContext/runAsUser", "0", "0"},
        {S "securityContext: {runAsUser: $KERNEL_X}", "", "1e3",
         "!pod.yaml: spec.securityContext.runAsUser: \"1e3\" must be a whole number"},
        {S "securityContext: {runAsUser: $KERNEL_X}", "", "", "!must be a whole number"},
        {S "securityContext: {supplementalGroups: ['$KERNEL_X', 7]}",
         "spec/securityContext/supplementalGroups", "5", "[5,7]"},
        {C "ports: [{containerPort: $KERNEL_X}]", "spec/containers/0/ports/0/containerPort", "80",
         "80"},
        {S "priorityClassName: $KERNEL_X", "spec/priorityClassName", "5", "\"5\""},
        {S "nodeSelector: {a: $KERNEL_X}", "spec/nodeSelector/a", "true", "\"true\""},
        {C "resources: {limits: {memory: $KERNEL_X}}", "spec/containers/0/resources/limits/memory",
         "4Gi", "\"4Gi\""},
        {C "resources: {limits: {memory: $KERNEL_X}}", "", "lots",
         "!limits.memory: \"lots\" must be an amount"},
        {"metadata: {labels: {user: $KERNEL_X}}\n" C "image: x", "metadata/labels/user", "ann",
         "\"ann\""},
        {"metadata: {labels: {user: $KERNEL_X}}\n" C "image: x", "", "ann@x",
         "!metadata.labels.user: \"ann@x\" must be at most 63 letters"},
        {S "volumes: [{name: h, nfs: {server: s, path: '/home/$KERNEL_X'}}]",
         "spec/volumes/0/nfs/path", "ann", "\"/home/ann\""},
        {S "volumes: [{name: h, nfs: {server: s, path: $KERNEL_X}}]", "spec/volumes/0/nfs/path",
         "/home/claim/ann", "\"/home/claim/ann\""},
        {S "volumes: [{name: h, nfs: {server: s, path: '/home/$KERNEL_X'}}]", "", "..",
         "!spec.volumes[0].nfs.path: \"/home/..\" must not have an empty part"},
        {S "volumes: [{name: h, nfs: {server: s, path: '/home/$KERNEL_X'}}]", "", "",
         "!must not have an empty part"},
        {S "volumes: [{name: h, nfs: {server: s, path: '/home/$KERNEL_X/x'}}]", "", "a/../b",
         "!must not have an empty part"},
        {C "volumeMounts: [{name: h, mountPath: '/home', subPath: $KERNEL_X}]", "", "a\nb",
         "!subPath: the path has a control character"},
        {C "volumeMounts: [{name: h, mountPath: $KERNEL_X}]", "", "/opt/elara",
         "!must not hide /opt/elara"},
        {C "image: $KERNEL_NOPE", "", "",
         "!pod.yaml: spec.containers[0].image: ${KERNEL_NOPE} has no value"},
        {C "env: [{name: PATH, value: $PATH}]", "spec/containers/0/env/0/value", "", "\"$PATH\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {0};
        json_t *tree = tree_of(rows[i].yaml), *filled = NULL;
        json_t *values = json_pack("{s:s}", "KERNEL_X", rows[i].value);
        assert_int_equal(kube_template_check(tree, "pod.yaml", &err), 0);
        int rc = kube_template_fill(tree, values, "pod.yaml", NULL, &filled, &err);
        if (rows[i].expected[0] == '!') {
            assert_int_equal(rc, -1);
            assert_has(err.text, rows[i].expected + 1);
        } else {
            if (rc < 0)
                fail_msg("%s: %s", rows[i].yaml, err.text);
            assert_value(filled, rows[i].path, rows[i].expected);
        }
        json_decref(filled);
        json_decref(values);
        json_decref(tree);
    }
}

static void write_file(const char *directory, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void files(void **state) {
    char directory[] = "/tmp/elara-template-XXXXXX", command[600];
    struct error err = {0};
    json_t *tree = NULL;
    (void)state;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(kube_template_load(directory, &tree, &err), 0);
    assert_null(tree);
    write_file(directory, "pod.json", "{\"spec\": {\t\"containers\": [{\"image\": \"j\"}]}}");
    assert_int_equal(kube_template_load(directory, &tree, &err), 0);
    assert_value(tree, "spec/containers/0/image", "\"j\"");
    json_decref(tree);
    write_file(directory, "pod.yaml", "spec: {containers: [{image: y}]}");
    assert_int_equal(kube_template_load(directory, &tree, &err), 0);
    assert_value(tree, "spec/containers/0/image", "\"y\"");
    json_decref(tree);
    write_file(directory, "pod.yaml", "spec: {containers: [{image: 1}]}");
    assert_int_equal(kube_template_load(directory, &tree, &err), -1);
    assert_has(err.text, "pod.yaml: spec.containers[0].image");
    assert_null(tree);
    char *large = malloc(KUBE_TEMPLATE_MAX + 2);
    memset(large, '#', KUBE_TEMPLATE_MAX + 1);
    large[KUBE_TEMPLATE_MAX + 1] = '\0';
    write_file(directory, "pod.yaml", large);
    free(large);
    assert_int_equal(kube_template_load(directory, &tree, &err), -1);
    assert_int_equal(err.code, ERROR_LIMIT);
    snprintf(command, sizeof command, "%s/pod.yaml", directory);
    unlink(command);
    snprintf(command, sizeof command, "%s/pod.json", directory);
    unlink(command);
    rmdir(directory);
}

static void amounts(void **state) {
    static const struct {
        const char *text;
        double expected; /* -1: none */
    } rows[] = {
        {"0", 0},        {"2", 2},
        {"0.5", 0.5},    {".5", 0.5},
        {"2.", 2},       {"500m", 0.5},
        {"1k", 1000},    {"4Gi", 4294967296.0},
        {"1.5Ki", 1536}, {"1e3", 1000},
        {"1E3", 1000},   {"2e-1", 0.2},
        {"+3", 3},       {"1E", 1e18},
        {"", -1},        {"-1", -1},
        {"4GB", -1},     {"4g", -1},
        {"four", -1},    {"1 Gi", -1},
        {".", -1},       {"1e", -1},
        {"1e100", -1},   {"1.2.3", -1},
        {"Gi", -1},      {"12345678901234567890", -1},
        {"0x10", -1},    {"inf", -1},
        {"1mi", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {0};
        double amount = -1;
        int rc = kube_quantity_parse(rows[i].text, "KERNEL_MEMORY", &amount, &err);
        if ((rc < 0) != (rows[i].expected < 0))
            fail_msg("\"%s\": %d %s", rows[i].text, rc, err.text);
        if (rc == 0)
            assert_true(amount >= rows[i].expected - 1e-9 && amount <= rows[i].expected + 1e-9);
        else
            assert_has(err.text, "KERNEL_MEMORY: ");
    }
}

static void volumes_of_texts(void **state) {
    static const struct {
        const char *text;
        const char *expected; /* JSON, or "!error" */
        bool is_clients;
    } rows[] = {
        {"[{name: \"nfs-mount\",nfs: {server: 172.17.0.1, path: $KERNEL_PATH}}]",
         "[{\"name\":\"nfs-mount\",\"nfs\":{\"path\":\"/h/ann\",\"server\":\"172.17.0.1\"}}]", 0},
        {"[{name: n,nfs: {server: s, path: ${KERNEL_PATH}}}]",
         "[{\"name\":\"n\",\"nfs\":{\"path\":\"/h/ann\",\"server\":\"s\"}}]", 0},
        {"[{name: n,nfs: {server: s, path: \"${KERNEL_PATH}/x\"}}]",
         "[{\"name\":\"n\",\"nfs\":{\"path\":\"/h/ann/x\",\"server\":\"s\"}}]", 0},
        {"[{\"name\": \"c\", \"persistentVolumeClaim\": {\"claimName\": \"${KERNEL_NASTY}\"}}]",
         "[{\"name\":\"c\",\"persistentVolumeClaim\":{\"claimName\":\"x}}, {name: h, hostPath: "
         "{path: /}\"}}]",
         0},
        {"[{name: n, nfs: {server: s, path: /a/$KERNEL_NASTY}}]",
         "[{\"name\":\"n\",\"nfs\":{\"path\":\"/a/x}}, {name: h, hostPath: {path: /}\",\"server\":"
         "\"s\"}}]",
         0},
        {"- name: a\n  emptyDir:\n- name: b\n  emptyDir: {sizeLimit: 1Gi}\n",
         "[{\"emptyDir\":{},\"name\":\"a\"},{\"emptyDir\":{\"sizeLimit\":\"1Gi\"},\"name\":\"b\"}]",
         1},
        {"[]", "[]", 1},
        {"[{name: n,nfs: {server: s, path: $KERNEL_PATH}}]",
         "[{\"name\":\"n\",\"nfs\":{\"path\":\"$KERNEL_PATH\",\"server\":\"s\"}}]", 1},
        {"[{name: n, nfs: {server: s, path: $KERNEL_NOPE}}]",
         "!KERNEL_VOLUMES: [0].nfs.path: ${KERNEL_NOPE} has no value", 0},
        {"[{name: n, nfs: {server: s, path: /h/$KERNEL_DOTS}}]", "!must not have an empty part", 0},
        {"{name: n}", "!KERNEL_VOLUMES: must be a list of mappings such as", 1},
        {"nonsense", "!KERNEL_VOLUMES: must be a list", 1},
        {"", "!KERNEL_VOLUMES: must be a list", 1},
        {"[x]", "!KERNEL_VOLUMES: [0]: must be a mapping", 1},
        {"[{nfs: {server: s, path: p}}]", "!KERNEL_VOLUMES: [0].name: must be there", 1},
        {"[{name: n}]", "!KERNEL_VOLUMES: [0]: must have a name and one source", 1},
        {"[{name: n, nfs: {server: s, path: p}, hostPath: {path: /}}]", "!one source", 1},
        {"[{name: n, strange: 5}]", "!KERNEL_VOLUMES: [0].strange: must be a mapping", 1},
        {"[{name: elara-key, emptyDir: {}}]", "!\"elara-key\" is Elara's own", 1},
        {"[{name: n, nfs: {server: s}}]", "!KERNEL_VOLUMES: [0].nfs.path: must be there", 1},
        {"[{name: n", "!KERNEL_VOLUMES: while parsing a flow mapping: line", 1},
        {"[{name: \xee\x80\x80, emptyDir: {}}]", "!U+E000", 0},
    };
    (void)state;
    json_t *values = json_pack("{s:s, s:s, s:s}", "KERNEL_PATH", "/h/ann", "KERNEL_NASTY",
                               "x}}, {name: h, hostPath: {path: /}", "KERNEL_DOTS", "..");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {0};
        json_t *list = NULL;
        int rc =
            kube_volumes_parse(rows[i].text, rows[i].is_clients ? NULL : values, NULL, &list, &err);
        if (rows[i].expected[0] == '!') {
            assert_int_equal(rc, -1);
            assert_has(err.text, rows[i].expected + 1);
        } else {
            if (rc < 0)
                fail_msg("%s: %s", rows[i].text, err.text);
            assert_value(list, "", rows[i].expected);
        }
        json_decref(list);
    }
    json_decref(values);
}

static void mounts_of_texts(void **state) {
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"[{name: n, mountPath: /home/jovyan}]", NULL},
        {"[{\"name\": \"n\", \"mountPath\": \"/x\", \"readOnly\": true, \"subPath\": \"a\"}]",
         NULL},
        {"[{name: n, mountPath: home}]", "KERNEL_VOLUME_MOUNTS: [0].mountPath: must begin with /"},
        {"[{name: n}]", "KERNEL_VOLUME_MOUNTS: [0].mountPath: must be there"},
        {"[{name: n, mountPath: /x, readonly: true}]", "[0].readonly: unknown; a mount has name"},
        {"[{name: n, mountPath: /x, readOnly: 'yes'}]", "[0].readOnly: must be true or false"},
        {"[{name: n, mountPath: /etc/elara}]", "must not hide /opt/elara or /etc/elara"},
        {"[{name: elara, mountPath: /x}]", "\"elara\" is Elara's own"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {0};
        json_t *list = NULL;
        int rc = kube_mounts_parse(rows[i].text, NULL, NULL, &list, &err);
        if (rc < 0 && rows[i].expected == NULL)
            fail_msg("%s", err.text);
        assert_int_equal(rc, rows[i].expected != NULL ? -1 : 0);
        if (rc < 0)
            assert_has(err.text, rows[i].expected);
        json_decref(list);
    }
}

static void wishes(void **state) {
    struct error err = {0};
    struct kube_wishes got;
    uint32_t allowed = 0;
    (void)state;
    static char image[] = "KERNEL_IMAGE", uid[] = "KERNEL_UID", star[] = "*", other[] = "PATH",
                path[] = "KERNEL_PATH";
    char *names[] = {image, uid, path, NULL}, *all[] = {star, NULL}, *bad[] = {other, NULL};
    assert_int_equal(kube_wishes_parse(names, &allowed, &err), 0);
    assert_true(allowed & 1u << KUBE_WISH_IMAGE);
    assert_true(allowed & 1u << KUBE_WISH_CPUS);
    assert_false(allowed & 1u << KUBE_WISH_VOLUMES);
    assert_int_equal(kube_wishes_parse(bad, &allowed, &err), -1);
    assert_has(err.text,
               "\"PATH\" must be *, a variable that kernelspecs refer to (KERNEL_...), or one of ");
    assert_int_equal(kube_wishes_parse(NULL, &allowed, &err), 0);
    assert_int_equal(allowed, kube_wishes_free());

    json_t *client =
        json_pack("{s:s, s:s, s:s}", "KERNEL_CPUS", "2", "KERNEL_MEMORY", "", "KERNEL_UID", "7");
    json_t *spec = json_pack("{s:s, s:s}", "KERNEL_CPUS", "1", "KERNEL_MEMORY", "1Gi");
    assert_int_equal(kube_wishes_take(client, spec, allowed, &got, &err), -1);
    assert_int_equal(err.code, ERROR_DENIED);
    assert_has(err.text, "KERNEL_UID: ");
    assert_has(err.text, "kubernetes-allow");
    /* The kernelspec says it: the administrator's word, and no refusal. */
    json_object_set_new(spec, "KERNEL_UID", json_string("1001"));
    assert_int_equal(kube_wishes_take(client, spec, allowed, &got, &err), 0);
    assert_string_equal(got.value[KUBE_WISH_UID], "1001");
    assert_false(got.is_clients[KUBE_WISH_UID]);
    assert_string_equal(got.value[KUBE_WISH_CPUS], "2");
    assert_true(got.is_clients[KUBE_WISH_CPUS]);
    assert_string_equal(got.value[KUBE_WISH_MEMORY], "1Gi");
    assert_null(got.value[KUBE_WISH_IMAGE]);
    assert_int_equal(kube_wishes_parse(all, &allowed, &err), 0);
    assert_int_equal(kube_wishes_take(client, spec, allowed, &got, &err), 0);
    assert_string_equal(got.value[KUBE_WISH_UID], "7");
    json_decref(client);
    json_decref(spec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_that_are_wrong),
        cmocka_unit_test(many_containers),
        cmocka_unit_test(values_stay_one_text),
        cmocka_unit_test(values_where_they_stand),
        cmocka_unit_test(files),
        cmocka_unit_test(amounts),
        cmocka_unit_test(volumes_of_texts),
        cmocka_unit_test(mounts_of_texts),
        cmocka_unit_test(wishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
