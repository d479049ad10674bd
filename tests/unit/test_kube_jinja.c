#include "kube_plan.h"

#include "launcher/kube_jinja.h"

/* With the constructs of Jupyter Enterprise Gateway's template, old and current. */
static const char template[] = "# The kernel's pod\n"
                               "apiVersion: v1\n"
                               "kind: Pod\n"
                               "metadata:\n"
                               "  name: \"{{ kernel_pod_name }}\"\n"
                               "  namespace: {{ kernel_namespace | yaml_safe }}\n"
                               "  labels:\n"
                               "    kernel_id: \"{{ kernel_id }}\"\n"
                               "    app: enterprise-gateway\n"
                               "    component: kernel\n"
                               "    source: kernel-pod.yaml\n"
                               "spec:\n"
                               "  restartPolicy: Never\n"
                               "  serviceAccountName: \"{{ kernel_service_account_name }}\"\n"
                               "  {% if kernel_uid is defined or kernel_gid is defined %}\n"
                               "  securityContext:\n"
                               "    {% if kernel_uid is defined %}\n"
                               "    runAsUser: {{ kernel_uid | int }}\n"
                               "    {% endif %}\n"
                               "    {% if kernel_gid is defined %}\n"
                               "    runAsGroup: {{ kernel_gid | int }}\n"
                               "    {% endif %}\n"
                               "    fsGroup: 100\n"
                               "  {% endif %}\n"
                               "  containers:\n"
                               "  - name: \"{{ kernel_pod_name }}\"\n"
                               "    image: \"{{ kernel_image }}\"\n"
                               "    env:\n"
                               "# what an administrator adds\n"
                               "#    - name: MY_CUSTOM_ENV\n"
                               "  {% if kernel_cpus is defined or kernel_memory is defined or "
                               "kernel_cpus_limit is defined %}\n"
                               "    resources:\n"
                               "      {% if kernel_cpus is defined or kernel_memory is defined %}\n"
                               "      requests:\n"
                               "        {% if kernel_cpus is defined %}\n"
                               "        cpu: \"{{ kernel_cpus }}\"\n"
                               "        {% endif %}\n"
                               "        {% if kernel_memory is defined %}\n"
                               "        memory: \"{{ kernel_memory }}\"\n"
                               "        {% endif %}\n"
                               "      {% endif %}\n"
                               "      {% if kernel_cpus_limit is defined %}\n"
                               "      limits:\n"
                               "        cpu: \"{{ kernel_cpus_limit }}\"\n"
                               "      {% endif %}\n"
                               "  {% endif %}\n"
                               "    {% if kernel_working_dir is defined %}\n"
                               "    workingDir: \"{{ kernel_working_dir }}\"\n"
                               "    {% endif %}\n"
                               "    volumeMounts:\n"
                               "    {% if kernel_volume_mounts %}\n"
                               "      {% for mount in kernel_volume_mounts %}\n"
                               "    - {{ mount }}\n"
                               "      {% endfor %}\n"
                               "    {% endif %}\n"
                               "  volumes:\n"
                               "  {% if kernel_volumes is defined %}\n"
                               "  {% for volume in kernel_volumes %}\n"
                               "  - {{ volume }}\n"
                               "  {% endfor %}\n"
                               "  {% endif %}\n";

static void use_jinja(struct fixture *fixture, const char *text) {
    json_decref(fixture->template);
    fixture->template = json_string(text);
    fixture->plan.template = fixture->template;
}

static void use_home(struct fixture *fixture, const char *path) {
    spec_says(fixture, "KERNEL_VOLUMES",
              "[{name: 'nfs-mount',nfs: {server: '172.17.0.1', path: $KERNEL_PATH}}]");
    spec_says(fixture, "KERNEL_VOLUME_MOUNTS", "[{name: 'nfs-mount', mountPath: '/home/jovyan'}]");
    json_object_set_new(fixture->values, "KERNEL_PATH", json_string(path));
}

static void a_pod_of_the_template(void **state) {
    struct fixture *fixture = *state;
    use_jinja(fixture, template);
    use_home(fixture, "/home/nfs_share/claim/alice");
    wish(fixture, "KERNEL_CPUS", "500m");
    json_t *pod = make(fixture);
    assert_value(pod, "metadata/name", "\"kernel-" ID "-2\"");
    assert_value(pod, "metadata/labels/source", "\"kernel-pod.yaml\"");
    assert_value(pod, "metadata/labels/kernel_id", "\"" ID "\"");
    assert_value(pod, "spec/serviceAccountName", "\"default\"");
    assert_value(pod, "spec/securityContext/runAsUser", "1000");
    assert_value(pod, "spec/securityContext/runAsGroup", "100");
    assert_value(pod, "spec/securityContext/fsGroup", "100");
    assert_value(pod, "spec/restartPolicy", "\"OnFailure\"");
    assert_value(pod, "spec/containers/0/name", "\"kernel-" ID "-2\"");
    assert_value(pod, "spec/containers/0/image", "\"registry.example.com/py:3\"");
    assert_value(pod, "spec/containers/0/resources/requests/cpu", "\"500m\"");
    assert_null(at(pod, "spec/containers/0/resources/limits"));
    assert_null(at(pod, "spec/containers/0/workingDir"));
    assert_value(pod, "spec/containers/0/volumeMounts/0",
                 "{\"mountPath\":\"/home/jovyan\",\"name\":\"nfs-mount\"}");
    assert_value(pod, "spec/volumes/0",
                 "{\"name\":\"nfs-mount\",\"nfs\":{\"path\":\"/home/nfs_share/claim/alice\","
                 "\"server\":\"172.17.0.1\"}}");
    json_decref(pod);
}

static void working_directories_only_where_they_are_mirrored(void **state) {
    struct fixture *fixture = *state;
    use_jinja(fixture, template);
    wish(fixture, "KERNEL_WORKING_DIR", "/home/jovyan/work");
    fixture->settings.mirror_working_dirs = true;
    json_t *pod = make(fixture);
    assert_value(pod, "spec/containers/0/workingDir", "\"/home/jovyan/work\"");
    json_decref(pod);
}

/* What the lab's own gateway made of these tails of KERNEL_PATH: another volume, another option,
 * another user's directory. */
static void values_stay_one_text(void **state) {
    static const char *const taken[] = {"a,b",
                                        "x, readOnly: true",
                                        "a: b",
                                        "a #b",
                                        "a}b",
                                        "{{ x }}",
                                        "x}},{\"name\":h,\"hostPath\":{\"path\":h"};
    struct fixture *fixture = *state;
    use_jinja(fixture, template);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        char path[128];
        snprintf(path, sizeof path, "/claim/%s", taken[i]);
        use_home(fixture, path);
        json_t *pod = make(fixture);
        assert_int_equal(json_array_size(at(pod, "spec/volumes")), 3); /* and ours */
        assert_string_equal(text_at(pod, "spec/volumes/0/nfs/path"), path);
        assert_int_equal(json_object_size(at(pod, "spec/volumes/0/nfs")), 2);
        json_decref(pod);
    }
    static const char *const refused_paths[] = {"/claim/", "/claim/..", "/claim/a\nb", "/claim//a"};
    for (size_t i = 0; i < sizeof refused_paths / sizeof *refused_paths; i++) {
        use_home(fixture, refused_paths[i]);
        refused(fixture, "KERNEL_VOLUMES: [0].nfs.path");
    }
    json_object_del(fixture->values, "KERNEL_PATH");
    refused(fixture, "KERNEL_PATH} has no value");
}

/* What the pod has beyond the template's, or has stricter. docs/migrating-from-jeg.md lists the
 * same (tests/integration/test_docs.py); a last step is a member, an item of a list by its name, or
 * with a star all members that begin so. */
static const char *const added[] = {
    "spec/initContainers",
    "spec/volumes/elara",
    "spec/volumes/elara-key",
    "spec/containers/0/volumeMounts/elara",
    "spec/containers/0/volumeMounts/elara-key",
    "spec/containers/0/command",
    "spec/containers/0/ports",
    "spec/containers/0/terminationMessagePolicy",
    "spec/containers/0/env",
    "spec/containers/0/securityContext",
    "spec/securityContext/runAsNonRoot",
    "spec/securityContext/seccompProfile",
    "spec/automountServiceAccountToken",
    "spec/enableServiceLinks",
    "spec/restartPolicy",
    "spec/terminationGracePeriodSeconds",
    "metadata/name",
    "metadata/ownerReferences",
    "metadata/annotations",
    "metadata/labels/elara.*",
    "metadata/labels/app.kubernetes.io*",
};

static bool take_from_list(json_t *list, const char *name) {
    size_t before = json_array_size(list);
    for (size_t i = before; i-- > 0;)
        if (strcmp(text_at(json_array_get(list, i), "name"), name) == 0)
            json_array_remove(list, i);
    return json_array_size(list) < before;
}

static bool take_from_object(json_t *object, const char *name) {
    size_t before = json_object_size(object), length = strcspn(name, "*");
    const char *member;
    void *next;
    json_t *value;
    json_object_foreach_safe(object, next, member, value) {
        if (strncmp(member, name, length) == 0 && (name[length] == '*' || member[length] == '\0'))
            json_object_del(object, member);
    }
    return json_object_size(object) < before;
}

static void take_out(json_t *pod, const char *path) {
    char up[128];
    const char *last = strrchr(path, '/');
    snprintf(up, sizeof up, "%.*s", (int)(last - path), path);
    json_t *parent = at(pod, up);
    bool was_there = json_is_array(parent) ? take_from_list(parent, last + 1)
                                           : take_from_object(parent, last + 1);
    if (!was_there)
        fail_msg("there is no %s", path);
}

/* The lab's own files, for alice: all of the pod but what is added, or made stricter, here. */
static void l8_the_pod_of_the_lab(void **state) {
    static const char lab[] =
        "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {"
        "\"namespace\": \"kernels\", \"labels\": {\"kernel_id\": \"" ID
        "\", \"app\": \"enterprise-gateway\", \"component\": \"kernel\", \"source\": "
        "\"kernel-pod.yaml\"}}, \"spec\": {\"serviceAccountName\": \"default\", "
        "\"securityContext\": {\"runAsUser\": 1000, \"runAsGroup\": 100, \"fsGroup\": 100}, "
        "\"containers\": [{\"name\": \"kernel-" ID
        "-2\", \"image\": \"docker.io/elyra/kernel-py:dev\", \"workingDir\": "
        "\"/home/jovyan/work\", \"resources\": {}, \"volumeMounts\": [{\"name\": \"nfs-mount\", "
        "\"mountPath\": \"/home/jovyan\"}]}], \"volumes\": [{\"name\": \"nfs-mount\", \"nfs\": "
        "{\"server\": \"172.17.0.1\", \"path\": \"/home/nfs_share/claim/alice\"}}]}}";
    struct fixture *fixture = *state;
    use_jinja(fixture, template);
    use_home(fixture, "/home/nfs_share/claim/alice");
    wish(fixture, "KERNEL_WORKING_DIR", "/home/jovyan/work");
    fixture->settings.mirror_working_dirs = true;
    fixture->plan.spec_image = "docker.io/elyra/kernel-py:dev";
    json_t *pod = make(fixture), *expected = json_loads(lab, 0, NULL);
    for (size_t i = 0; i < sizeof added / sizeof *added; i++)
        take_out(pod, added[i]);
    char *made = json_dumps(pod, JSON_SORT_KEYS), *wanted = json_dumps(expected, JSON_SORT_KEYS);
    assert_string_equal(made, wanted);
    free(made);
    free(wanted);
    json_decref(pod);
    json_decref(expected);
}

static void what_an_administrator_adds_stays(void **state) {
    struct fixture *fixture = *state;
    use_jinja(fixture, "apiVersion: v1\nkind: Pod\n"
                       "metadata:\n  annotations: {team: \"{{ kernel_username }}\"}\n"
                       "spec:\n"
                       "  tolerations: [{key: gpu, operator: Exists}]\n"
                       "  containers:\n"
                       "  - name: main\n"
                       "    image: {{ kernel_image }}\n"
                       "    env:\n"
                       "    - {name: WHO, value: \"{{ kernel_username }}\"}\n"
                       "  - {name: proxy, image: envoy}\n"
                       "  volumes:\n"
                       "  - {name: home, nfs: {server: s, path: /home/{{ kernel_username }}}}\n");
    json_t *pod = make(fixture);
    assert_value(pod, "metadata/annotations/team", "\"ann\"");
    assert_value(pod, "spec/tolerations/0/key", "\"gpu\"");
    assert_value(pod, "spec/containers/0/env/0/value", "\"ann\"");
    assert_value(pod, "spec/containers/1/name", "\"proxy\"");
    assert_value(pod, "spec/volumes/0/nfs/path", "\"/home/ann\"");
    json_decref(pod);
}

static const char *variable_of(const json_t *pod, const char *name) {
    const json_t *env = at(pod, "spec/containers/0/env");
    const char *value = NULL;
    for (size_t i = 0; i < json_array_size(env); i++)
        if (strcmp(text_at(json_array_get(env, i), "name"), name) == 0)
            value = text_at(json_array_get(env, i), "value");
    return value;
}

/* An image's own scripts, and hooks that an administrator adds, look for them. */
static void the_container_has_the_variables_of_that_gateway(void **state) {
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"KERNEL_ID", ID},
        {"KERNEL_NAMESPACE", "kernels"},
        {"KERNEL_POD_NAME", "kernel-" ID "-2"},
        {"KERNEL_IMAGE", "registry.example.com/py:3"},
        {"KERNEL_UID", "1000"},
        {"KERNEL_GID", "100"},
        {"KERNEL_SERVICE_ACCOUNT_NAME", "default"},
        {"KERNEL_NAME", "python_kubernetes"},
        {"KERNEL_SPARK_CONTEXT_INIT_MODE", "none"},
        {"PORT_RANGE", "1..2"},
        {"RESPONSE_ADDRESS", ""},
        {"PUBLIC_KEY", ""},
    };
    struct fixture *fixture = *state;
    fixture->plan.kernelspec = "python_kubernetes";
    use_jinja(fixture, "kind: Pod\nspec:\n  containers:\n  - name: main\n    env:\n"
                       "    - {name: PORT_RANGE, value: 1..2}\n  - {name: side, image: a}\n");
    json_t *pod = make(fixture);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_non_null(variable_of(pod, rows[i].name));
        assert_string_equal(variable_of(pod, rows[i].name), rows[i].value);
    }
    assert_int_equal(json_array_size(at(pod, "spec/containers/0/env")), sizeof rows / sizeof *rows);
    assert_null(at(pod, "spec/containers/1/env"));
    json_decref(pod);
}

static void mistakes_name_file_and_place(void **state) {
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"kind: Pod\nspec: {{ nothing }}\n",
         "scripts/kernel-pod.yaml.j2:2: nothing has no value: neither the request nor the "
         "kernelspec has one"},
        {"kind: Pod\nspec: [\n", "scripts/kernel-pod.yaml.j2, what the template makes: "},
        {"kind: {{ kernel_kind }}\nmetadata: {name: x}\n",
         "scripts/kernel-pod.yaml.j2: kind: \"Secret\"; it has to be one Pod"},
        {"kind: Pod\nspec: {containers: [{name: a}]}\n---\napiVersion: v1\nkind: \"Secret\"\n",
         "scripts/kernel-pod.yaml.j2:5: kind: Secret: only the Pod is made of a template; take it "
         "out"},
        {"kind: Pod\n", "scripts/kernel-pod.yaml.j2: spec: must be there"},
        {"kind: Pod\nmetadata: {namespace: other}\nspec: {containers: [{name: a}]}\n",
         "metadata.namespace: must be {{ kernel_namespace }} or left out, not \"other\""},
        {"kind: Pod\nmetadata: {labels: {\"{{ kernel_id }}\": a}}\nspec: {}\n",
         "a value cannot be a key here"},
        {"kind: Pod\nspec: {volumes: [{name: a, nfs: {server: s, path: \"/x/{{ kernel_up "
         "}}\"}}]}\n",
         "spec.volumes[0].nfs.path: \"/x/..\" must not have an empty part, \".\" or \"..\""},
        {"kind: Pod\nspec: {containers: [{name: a, command: [sh]}]}\n",
         "scripts/kernel-pod.yaml.j2: spec.containers[0].command: take it out"},
    };
    struct fixture *fixture = *state;
    json_object_set_new(fixture->values, "KERNEL_UP", json_string(".."));
    json_object_set_new(fixture->values, "KERNEL_KIND", json_string("Secret"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        use_jinja(fixture, rows[i].text);
        refused(fixture, rows[i].expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pod_of_the_template, set_up, tear_down),
        cmocka_unit_test_setup_teardown(working_directories_only_where_they_are_mirrored, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(values_stay_one_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(l8_the_pod_of_the_lab, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_an_administrator_adds_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_container_has_the_variables_of_that_gateway, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(mistakes_name_file_and_place, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
