#include "kube_plan.h"

static void from_settings_alone(void **state) {
    json_t *pod = make(*state);
    assert_value(pod, "apiVersion", "\"v1\"");
    assert_value(pod, "kind", "\"Pod\"");
    assert_value(pod, "metadata/name", "\"kernel-" ID "-2\"");
    assert_value(pod, "metadata/namespace", "\"kernels\"");
    assert_value(pod, "metadata/labels/app.kubernetes.io~name", "\"elara\"");
    assert_value(pod, "metadata/labels/app.kubernetes.io~component", "\"kernel\"");
    assert_value(pod, "metadata/labels/app", "\"enterprise-gateway\"");
    assert_value(pod, "metadata/labels/component", "\"kernel\"");
    assert_value(pod, "metadata/labels/kernel_id", "\"" ID "\"");
    assert_value(pod, "metadata/labels/elara.kernel", "\"" ID "\"");
    assert_value(pod, "metadata/labels/elara.install", "\"elara\"");
    assert_value(pod, "metadata/labels/elara.attempt", "\"2\"");
    assert_value(pod, "metadata/labels/elara.kind", "\"pod\"");
    assert_value(pod, "metadata/annotations/elara.kernel-id", "\"" ID "\"");
    assert_value(pod, "metadata/annotations/elara.owner", "\"ann\"");
    assert_value(pod, "metadata/annotations/cluster-autoscaler.kubernetes.io~safe-to-evict",
                 "\"false\"");
    assert_value(pod, "metadata/ownerReferences",
                 "[{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"name\":\"elara-kernel-" ID
                 "\",\"uid\":\"u-1\"}]");
    assert_value(pod, "spec/restartPolicy", "\"OnFailure\"");
    assert_value(pod, "spec/enableServiceLinks", "false");
    assert_value(pod, "spec/automountServiceAccountToken", "false");
    assert_value(pod, "spec/terminationGracePeriodSeconds", "12");
    assert_value(pod, "spec/serviceAccountName", NULL);
    assert_value(pod, "spec/activeDeadlineSeconds", NULL);
    assert_value(pod, "spec/securityContext",
                 "{\"fsGroup\":100,\"runAsGroup\":100,\"runAsNonRoot\":true,\"runAsUser\":1000,"
                 "\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}");
    assert_value(pod, "spec/containers/0/name", "\"kernel\"");
    assert_value(pod, "spec/containers/0/image", "\"registry.example.com/py:3\"");
    assert_value(pod, "spec/containers/0/imagePullPolicy", NULL);
    assert_value(pod, "spec/containers/0/workingDir", NULL);
    assert_value(pod, "spec/containers/0/terminationMessagePolicy", "\"FallbackToLogsOnError\"");
    assert_value(pod, "spec/containers/0/command",
                 "[\"/opt/elara/bin/elara-launcher\",\"--directory\",\"/opt/elara/kernel\","
                 "\"--place\",\"/etc/elara\",\"--listen\",\"tcp://*:8877\"]");
    assert_value(pod, "spec/containers/0/ports",
                 "[{\"containerPort\":8877,\"name\":\"elara-link\",\"protocol\":\"TCP\"}]");
    assert_value(pod, "spec/containers/0/securityContext",
                 "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]}}");
    assert_value(pod, "spec/containers/0/volumeMounts",
                 "[{\"mountPath\":\"/opt/elara\",\"name\":\"elara\"},"
                 "{\"mountPath\":\"/etc/elara\",\"name\":\"elara-key\",\"readOnly\":true}]");
    assert_value(pod, "spec/volumes",
                 "[{\"emptyDir\":{\"sizeLimit\":\"450Mi\"},\"name\":\"elara\"},{\"name\":"
                 "\"elara-key\",\"secret\":{\"defaultMode\":292,\"secretName\":\"elara-kernel-" ID
                 "\"}}]");
    assert_value(pod, "spec/initContainers/0",
                 "{\"command\":[\"/usr/bin/elara-launcher\",\"--install\",\"/opt/elara\"],"
                 "\"image\":\"elara:1\",\"name\":\"elara-launcher\",\"resources\":{},"
                 "\"securityContext\":{\"allowPrivilegeEscalation\":false,\"capabilities\":"
                 "{\"drop\":[\"ALL\"]},\"readOnlyRootFilesystem\":true},"
                 "\"terminationMessagePolicy\":\"FallbackToLogsOnError\",\"volumeMounts\":"
                 "[{\"mountPath\":\"/opt/elara\",\"name\":\"elara\"}]}");
    json_decref(pod);
}

static const char rich_template[] =
    "metadata:\n"
    "  labels: {team: a, kueue.x-k8s.io/queue-name: gpus}\n"
    "  annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: 'true'}\n"
    "spec:\n"
    "  nodeSelector: {gpu: a100}\n"
    "  tolerations: [{key: gpu, operator: Exists}]\n"
    "  affinity: {nodeAffinity: {x: [1]}}\n"
    "  priorityClassName: low\n"
    "  runtimeClassName: kata\n"
    "  imagePullSecrets: [{name: regcred}]\n"
    "  activeDeadlineSeconds: 3600\n"
    "  terminationGracePeriodSeconds: 3\n"
    "  automountServiceAccountToken: true\n"
    "  enableServiceLinks: true\n"
    "  serviceAccountName: spark\n"
    "  securityContext: {fsGroup: 5, seccompProfile: {type: Unconfined}}\n"
    "  initContainers: [{name: first, image: busybox}]\n"
    "  volumes: [{name: scratch, emptyDir: {}}]\n"
    "  containers:\n"
    "  - {name: proxy, image: envoy, command: [envoy]}\n"
    "  - name: kernel\n"
    "    image: from/template\n"
    "    imagePullPolicy: Never\n"
    "    env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: s, key: k}}}]\n"
    "    ports: [{containerPort: 4040}]\n"
    "    volumeMounts: [{name: scratch, mountPath: /scratch}]\n"
    "    resources: {requests: {cpu: 1}, limits: {cpu: '2', nvidia.com/gpu: 1}}\n"
    "    securityContext: {readOnlyRootFilesystem: true, runAsUser: 5000,\n"
    "      capabilities: {add: [NET_BIND_SERVICE]}}\n";

static void the_template_stays(void **state) {
    struct fixture *fixture = *state;
    use_template(fixture, rich_template);
    json_t *pod = make(fixture);
    static const char *const same[] = {
        "spec/nodeSelector",
        "spec/tolerations",
        "spec/affinity",
        "spec/priorityClassName",
        "spec/runtimeClassName",
        "spec/imagePullSecrets",
        "spec/activeDeadlineSeconds",
        "spec/terminationGracePeriodSeconds",
        "spec/automountServiceAccountToken",
        "spec/enableServiceLinks",
        "spec/serviceAccountName",
        "spec/containers/0",
        "spec/containers/1/env",
        "spec/containers/1/imagePullPolicy",
        "spec/containers/1/image",
        "spec/containers/1/resources",
        "metadata/labels/team",
        "metadata/labels/kueue.x-k8s.io~queue-name",
        "metadata/annotations/cluster-autoscaler.kubernetes.io~safe-to-evict",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!json_equal(at(pod, same[i]), at(fixture->template, same[i])))
            fail_msg("%s is another", same[i]);
    assert_value(pod, "spec/initContainers/1/name", "\"first\"");
    assert_value(pod, "spec/initContainers/0/securityContext/runAsUser", "5000");
    assert_value(pod, "spec/initContainers/0/resources",
                 "{\"limits\":{\"cpu\":\"2\"},\"requests\":{\"cpu\":1}}");
    assert_value(pod, "spec/containers/1/ports/0/containerPort", "4040");
    assert_value(pod, "spec/containers/1/ports/1/containerPort", "8877");
    assert_value(pod, "spec/containers/1/volumeMounts/0/name", "\"scratch\"");
    assert_value(pod, "spec/containers/1/volumeMounts/1/name", "\"elara\"");
    assert_value(pod, "spec/volumes/0/name", "\"scratch\"");
    assert_value(pod, "spec/containers/1/securityContext",
                 "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":"
                 "[\"NET_BIND_SERVICE\"],\"drop\":[\"ALL\"]},\"readOnlyRootFilesystem\":true,"
                 "\"runAsGroup\":100,\"runAsUser\":5000}");
    assert_value(pod, "spec/securityContext",
                 "{\"fsGroup\":5,\"runAsNonRoot\":true,\"seccompProfile\":"
                 "{\"type\":\"Unconfined\"}}");
    assert_value(pod, "metadata/annotations/kubectl.kubernetes.io~default-container", "\"kernel\"");
    /* The template is as it was: the next pod is made of it too. */
    assert_value(fixture->template, "spec/restartPolicy", NULL);
    assert_int_equal(json_array_size(at(fixture->template, "spec/volumes")), 1);
    json_decref(pod);
}

static void a_read_only_root_has_a_place_for_temporary_files(void **state) {
    struct fixture *fixture = *state;
    use_template(fixture,
                 "spec: {containers: [{securityContext: {readOnlyRootFilesystem: true}}]}");
    json_t *pod = make(fixture);
    assert_value(pod, "spec/containers/0/volumeMounts/2",
                 "{\"mountPath\":\"/tmp\",\"name\":\"elara-tmp\"}");
    assert_value(pod, "spec/volumes/2", "{\"emptyDir\":{},\"name\":\"elara-tmp\"}");
    json_decref(pod);
    use_template(fixture,
                 "spec: {volumes: [{name: own, emptyDir: {}}], containers: [{volumeMounts: [{name: "
                 "own, mountPath: /tmp}], securityContext: {readOnlyRootFilesystem: true}}]}");
    pod = make(fixture);
    assert_value(pod, "spec/containers/0/volumeMounts/0/name", "\"own\"");
    assert_int_equal(json_array_size(at(pod, "spec/containers/0/volumeMounts")), 3);
    assert_int_equal(json_array_size(at(pod, "spec/volumes")), 3);
    json_decref(pod);
}

static void the_setting_stands_in(void **state) {
    struct fixture *fixture = *state;
    json_t *setting = tree_of("spec: {schedulerName: mine, containers: [{image: of/setting}]}");
    fixture->settings.pod = setting;
    json_t *pod = make(fixture);
    assert_value(pod, "spec/schedulerName", "\"mine\"");
    assert_value(pod, "spec/containers/0/image", "\"of/setting\"");
    assert_value(pod, "spec/containers/0/name", "\"kernel\"");
    json_decref(pod);
    use_template(fixture, "spec: {containers: [{image: own}]}");
    pod = make(fixture);
    assert_value(pod, "spec/schedulerName", NULL);
    assert_value(pod, "spec/containers/0/image", "\"own\"");
    json_decref(pod);
    json_decref(setting);
}

static void whose_image(void **state) {
    struct fixture *fixture = *state;
    json_t *pod;
    use_template(fixture, "spec: {containers: [{image: of/template}]}");
    fixture->plan.spec_image = "of/kernel.json";
    pod = make(fixture);
    assert_value(pod, "spec/containers/0/image", "\"of/kernel.json\"");
    json_decref(pod);
    spec_says(fixture, "KERNEL_IMAGE", "of/env:$KERNEL_TAG");
    json_object_set_new(fixture->values, "KERNEL_TAG", json_string("7"));
    pod = make(fixture);
    assert_value(pod, "spec/containers/0/image", "\"of/env:7\"");
    json_decref(pod);
    wish(fixture, "KERNEL_IMAGE", "of/client@sha256:00");
    pod = make(fixture);
    assert_value(pod, "spec/containers/0/image", "\"of/client@sha256:00\"");
    json_decref(pod);
    wish(fixture, "KERNEL_IMAGE", "a b");
    refused(fixture, "\"a b\" is no image's name");
    wish(fixture, "KERNEL_IMAGE", "");
    json_object_clear(fixture->spec_env);
    use_template(fixture, "spec: {containers: [{}]}");
    fixture->plan.spec_image = NULL;
    fixture->settings.image = "";
    refused(fixture, "no image for the kernel");
    fixture->settings.launcher_image = NULL;
    refused(fixture, "kubernetes-launcher-image");
}

static void images_of_kernel_json(void **state) {
    (void)state;
    json_t *json = tree_of("metadata: {process_proxy: {config: {image_name: a}}}");
    assert_string_equal(kube_spec_image(json), "a");
    json_decref(json);
    json = tree_of("metadata: {kernel_provisioner: {config: {image_name: b}}, process_proxy: "
                   "{config: {image_name: a}}}");
    assert_string_equal(kube_spec_image(json), "b");
    json_decref(json);
    json = tree_of("metadata: {process_proxy: {config: {image_name: ''}}}");
    assert_null(kube_spec_image(json));
    json_decref(json);
    assert_null(kube_spec_image(NULL));
}

static void wishes_of_amounts(void **state) {
    static const struct {
        const char *cpus, *cpus_limit, *memory, *memory_limit, *gpus, *gpus_limit;
        const char *expected; /* resources, or "!error" */
    } rows[] = {
        {"2", "4", "1Gi", "2Gi", NULL, NULL,
         "{\"limits\":{\"cpu\":\"4\",\"memory\":\"2Gi\"},\"requests\":{\"cpu\":\"2\",\"memory\":"
         "\"1Gi\"}}"},
        {"500m", NULL, NULL, NULL, "1", NULL,
         "{\"limits\":{\"nvidia.com/gpu\":1},\"requests\":{\"cpu\":\"500m\",\"nvidia.com/"
         "gpu\":1}}"},
        {NULL, NULL, NULL, NULL, NULL, "2",
         "{\"limits\":{\"nvidia.com/gpu\":2},\"requests\":{\"nvidia.com/gpu\":2}}"},
        {NULL, NULL, NULL, NULL, "2", "2",
         "{\"limits\":{\"nvidia.com/gpu\":2},\"requests\":{\"nvidia.com/gpu\":2}}"},
        {NULL, NULL, NULL, NULL, "0", NULL, "{\"limits\":{},\"requests\":{}}"},
        {NULL, NULL, NULL, NULL, "1", "2", "!KERNEL_GPUS (1) and KERNEL_GPUS_LIMIT (2) must be"},
        {NULL, NULL, NULL, NULL, "half", NULL, "!KERNEL_GPUS"},
        {NULL, NULL, NULL, NULL, NULL, "0.5", "!KERNEL_GPUS_LIMIT"},
        {"4", "2", NULL, NULL, NULL, NULL, "!the kernel asks for \"4\" of cpu and its limit is"},
        {NULL, NULL, "4Gi", "4G", NULL, NULL, "!the kernel asks for \"4Gi\" of memory"},
        {"two", NULL, NULL, NULL, NULL, NULL, "!KERNEL_CPUS: \"two\" must be an amount such as"},
        {NULL, NULL, "4GB", NULL, NULL, NULL, "!KERNEL_MEMORY: \"4GB\" must be an amount"},
        {NULL, NULL, NULL, "512m", NULL, NULL, "!KERNEL_MEMORY_LIMIT: \"512m\" is less than"},
        {"x}}, y: {z: 1", NULL, NULL, NULL, NULL, NULL, "!KERNEL_CPUS: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        set_up(state);
        struct fixture *fixture = *state;
        const char *const values[] = {rows[i].cpus,         rows[i].cpus_limit, rows[i].memory,
                                      rows[i].memory_limit, rows[i].gpus,       rows[i].gpus_limit};
        static const char *const names[] = {"KERNEL_CPUS",   "KERNEL_CPUS_LIMIT",
                                            "KERNEL_MEMORY", "KERNEL_MEMORY_LIMIT",
                                            "KERNEL_GPUS",   "KERNEL_GPUS_LIMIT"};
        for (size_t j = 0; j < sizeof names / sizeof *names; j++)
            if (values[j] != NULL)
                wish(fixture, names[j], values[j]);
        if (rows[i].expected[0] == '!') {
            refused(fixture, rows[i].expected + 1);
        } else {
            json_t *pod = make(fixture);
            assert_value(pod, "spec/containers/0/resources", rows[i].expected);
            json_decref(pod);
        }
        tear_down(state);
    }
}

static void amounts_beside_the_template(void **state) {
    struct fixture *fixture = *state;
    fixture->settings.gpu_resource = "amd.com/gpu";
    use_template(fixture, "spec: {containers: [{resources: {limits: {cpu: 2, memory: 8Gi}}}]}");
    wish(fixture, "KERNEL_MEMORY", "4Gi");
    wish(fixture, "KERNEL_GPUS", "1");
    json_t *pod = make(fixture);
    assert_value(pod, "spec/containers/0/resources",
                 "{\"limits\":{\"amd.com/gpu\":1,\"cpu\":2,\"memory\":\"8Gi\"},\"requests\":"
                 "{\"amd.com/gpu\":1,\"memory\":\"4Gi\"}}");
    json_decref(pod);
    wish(fixture, "KERNEL_CPUS", "3");
    refused(fixture, "the kernel asks for \"3\" of cpu and its limit is 2");
}

static void users_and_groups(void **state) {
    static const struct {
        const char *uid, *gid; /* of the client */
        const char *spec_uid;  /* of kernel.json */
        int64_t setting_uid;
        const char *pod, *container; /* securityContexts of the template */
        const char *expected_pod, *expected_container;
    } rows[] = {
        {"1234", "77", NULL, 1000, "{}", "{}",
         "{\"fsGroup\":77,\"runAsGroup\":77,\"runAsNonRoot\":true,\"runAsUser\":1234}", "{}"},
        {"1234", NULL, NULL, 1000, "{runAsUser: 5, fsGroup: 6}", "{runAsUser: 7}",
         "{\"fsGroup\":6,\"runAsGroup\":100,\"runAsNonRoot\":true,\"runAsUser\":1234}",
         "{\"runAsUser\":1234}"},
        {NULL, NULL, NULL, -1, "{}", "{}", "{\"runAsNonRoot\":true}", "{}"},
        {NULL, NULL, NULL, 1000, "{runAsNonRoot: false}", "{}", "{\"runAsNonRoot\":false}", "{}"},
        {NULL, NULL, NULL, 1000, "{}", "{runAsNonRoot: false}", "{}", "{\"runAsNonRoot\":false}"},
        {NULL, NULL, NULL, 1000, "{runAsUser: 0}", "{}",
         "{\"fsGroup\":100,\"runAsGroup\":100,\"runAsUser\":0}", "{}"},
        {NULL, NULL, "0", 1000, "{}", "{}", "{\"fsGroup\":100,\"runAsGroup\":100,\"runAsUser\":0}",
         "{}"},
        {NULL, NULL, NULL, 1000, "{runAsGroup: 0}", "{}",
         "{\"runAsGroup\":0,\"runAsNonRoot\":true,\"runAsUser\":1000}", "{}"},
        {NULL, "77", NULL, 1000, "{}", "{runAsUser: 7}", "{\"fsGroup\":77,\"runAsNonRoot\":true}",
         "{\"runAsGroup\":77,\"runAsUser\":7}"},
        {NULL, "77", NULL, -1, "{}", "{}", "!KERNEL_GID needs a runAsUser beside it", NULL},
        {NULL, NULL, NULL, -1, "{runAsGroup: 5}", "{}",
         "!spec.securityContext.runAsGroup needs a runAsUser", NULL},
        {NULL, NULL, NULL, -1, "{}", "{runAsGroup: 5}", "!of the kernel's container needs a", NULL},
        {"0", NULL, NULL, 1000, "{}", "{}", "!KERNEL_UID: 0 is root", NULL},
        {"00", NULL, NULL, 1000, "{}", "{}", "!KERNEL_UID", NULL},
        {"4294967296", NULL, NULL, 1000, "{}", "{}", "!KERNEL_UID", NULL},
        {"-1", NULL, NULL, 1000, "{}", "{}", "!KERNEL_UID", NULL},
        {" 0", NULL, NULL, 1000, "{}", "{}", "!KERNEL_UID", NULL},
        {"ann", NULL, NULL, 1000, "{}", "{}", "!KERNEL_UID", NULL},
        {NULL, "0", NULL, 1000, "{}", "{}", "!KERNEL_GID: 0 is root", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        set_up(state);
        struct fixture *fixture = *state;
        char yaml[512];
        snprintf(yaml, sizeof yaml,
                 "spec: {securityContext: %s, containers: [{securityContext: %s}]}", rows[i].pod,
                 rows[i].container);
        use_template(fixture, yaml);
        fixture->settings.uid = rows[i].setting_uid;
        fixture->settings.gid = rows[i].setting_uid < 0 ? -1 : 100;
        if (rows[i].uid != NULL)
            wish(fixture, "KERNEL_UID", rows[i].uid);
        if (rows[i].gid != NULL)
            wish(fixture, "KERNEL_GID", rows[i].gid);
        if (rows[i].spec_uid != NULL)
            spec_says(fixture, "KERNEL_UID", rows[i].spec_uid);
        if (rows[i].expected_pod[0] == '!') {
            refused(fixture, rows[i].expected_pod + 1);
        } else {
            json_t *pod = make(fixture);
            json_object_del(at(pod, "spec/securityContext"), "seccompProfile");
            json_t *own = at(pod, "spec/containers/0/securityContext");
            json_object_del(own, "allowPrivilegeEscalation");
            json_object_del(own, "capabilities");
            assert_value(pod, "spec/securityContext", rows[i].expected_pod);
            assert_value(pod, "spec/containers/0/securityContext", rows[i].expected_container);
            json_decref(pod);
        }
        tear_down(state);
    }
}

static void privileged_ones_are_left(void **state) {
    struct fixture *fixture = *state;
    use_template(fixture, "spec: {containers: [{securityContext: {privileged: true}}]}");
    json_t *pod = make(fixture);
    assert_value(pod, "spec/containers/0/securityContext", "{\"privileged\":true}");
    json_decref(pod);
    use_template(fixture,
                 "spec: {containers: [{securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}");
    pod = make(fixture);
    assert_value(pod, "spec/containers/0/securityContext",
                 "{\"capabilities\":{\"add\":[\"SYS_ADMIN\"],\"drop\":[\"ALL\"]}}");
    json_decref(pod);
}

static void volumes(void **state) {
    struct fixture *fixture = *state;
    use_template(fixture,
                 "spec: {volumes: [{name: own, emptyDir: {}}], containers: [{volumeMounts: "
                 "[{name: own, mountPath: /own}]}]}");
    spec_says(fixture, "KERNEL_VOLUMES",
              "[{name: \"nfs-mount\",nfs: {server: 172.17.0.1, path: $KERNEL_PATH}}]");
    spec_says(fixture, "KERNEL_VOLUME_MOUNTS",
              "[{name: \"nfs-mount\", mountPath: \"/home/jovyan\"}]");
    json_object_set_new(fixture->values, "KERNEL_PATH", json_string("/h/claim/alice"));
    json_t *pod = make(fixture);
    assert_value(pod, "spec/volumes/1",
                 "{\"name\":\"nfs-mount\",\"nfs\":{\"path\":\"/h/claim/alice\",\"server\":"
                 "\"172.17.0.1\"}}");
    assert_value(pod, "spec/containers/0/volumeMounts/1",
                 "{\"mountPath\":\"/home/jovyan\",\"name\":\"nfs-mount\"}");
    assert_value(pod, "spec/containers/0/volumeMounts/2/name", "\"elara\"");
    json_decref(pod);
    json_object_del(fixture->values, "KERNEL_PATH");
    refused(fixture, "KERNEL_VOLUMES: [0].nfs.path: ${KERNEL_PATH} has no value");
    /* A client's instead of the kernelspec's, which are not looked at then. */
    wish(fixture, "KERNEL_VOLUMES", "[{\"name\": \"own\", \"emptyDir\": {}}]");
    wish(fixture, "KERNEL_VOLUME_MOUNTS", "[]");
    refused(fixture, "KERNEL_VOLUMES: [0].name: \"own\" is there twice");
    wish(fixture, "KERNEL_VOLUMES", "[{\"name\": \"theirs\", \"emptyDir\": {}}]");
    wish(fixture, "KERNEL_VOLUME_MOUNTS", "[{\"name\": \"theirs\", \"mountPath\": \"/own\"}]");
    refused(fixture, "KERNEL_VOLUME_MOUNTS: [0].mountPath: \"/own\" is there twice");
    wish(fixture, "KERNEL_VOLUME_MOUNTS", "[{\"name\": \"nobodys\", \"mountPath\": \"/x\"}]");
    refused(fixture, "volumeMounts[1].name: \"nobodys\" is no volume");
    fixture->settings.allowed = kube_wishes_free();
    json_object_del(fixture->spec_env, "KERNEL_VOLUMES");
    refused(fixture, "KERNEL_VOLUMES: this gateway does not let requests choose it");
}

static void names_accounts_directories(void **state) {
    struct fixture *fixture = *state;
    wish(fixture, "KERNEL_POD_NAME", "{{ kernel_username }}-{{ kernel_id }}");
    wish(fixture, "KERNEL_SERVICE_ACCOUNT_NAME", "spark");
    wish(fixture, "KERNEL_WORKING_DIR", "/home/ann/work");
    fixture->settings.service_account = "kernels";
    json_t *pod = make(fixture);
    /* The owner that was verified, whatever the request says. */
    assert_value(pod, "metadata/name", "\"ann-" ID "-2\"");
    assert_value(pod, "spec/serviceAccountName", "\"spark\"");
    assert_value(pod, "spec/containers/0/workingDir", NULL);
    json_decref(pod);
    fixture->settings.mirror_working_dirs = true;
    json_object_del(fixture->client, "KERNEL_SERVICE_ACCOUNT_NAME");
    pod = make(fixture);
    assert_value(pod, "spec/containers/0/workingDir", "\"/home/ann/work\"");
    assert_value(pod, "spec/serviceAccountName", "\"kernels\"");
    json_decref(pod);
    wish(fixture, "KERNEL_WORKING_DIR", "work");
    refused(fixture, "KERNEL_WORKING_DIR: \"work\" must be a path that begins with /");
    wish(fixture, "KERNEL_WORKING_DIR", "/");
    wish(fixture, "KERNEL_SERVICE_ACCOUNT_NAME", "a/b");
    refused(fixture, "KERNEL_SERVICE_ACCOUNT_NAME: \"a/b\" is no service account's name");
}

static void wishes_that_do_not_count_are_not_seen(void **state) {
    struct fixture *fixture = *state;
    use_template(fixture, "spec: {containers: [{env: [{name: U, value: '${KERNEL_UID}'}]}]}");
    fixture->settings.allowed = kube_wishes_free();
    wish(fixture, "KERNEL_UID", "7");
    spec_says(fixture, "KERNEL_UID", "1001");
    json_t *pod = make(fixture);
    assert_value(pod, "spec/containers/0/env/0/value", "\"1001\"");
    assert_value(pod, "spec/securityContext/runAsUser", "1001");
    json_decref(pod);
    json_object_del(fixture->spec_env, "KERNEL_UID");
    refused(fixture, "KERNEL_UID: this gateway does not let requests choose it");
    json_object_del(fixture->client, "KERNEL_UID");
    refused(fixture, "pod.yaml: spec.containers[0].env[0].value: ${KERNEL_UID} has no value");
}

static void ports_and_owners(void **state) {
    struct fixture *fixture = *state;
    fixture->settings.port = 9000;
    use_template(fixture, "spec: {containers: [{name: kernel}, {name: b, ports: [{containerPort: "
                          "9000}]}]}");
    refused(fixture, "spec.containers[1].ports[0]: port 9000 is the launcher's");
    fixture->settings.port = 9001;
    json_t *pod = make(fixture);
    assert_value(pod, "spec/containers/0/command/6", "\"tcp://*:9001\"");
    assert_value(pod, "spec/containers/0/ports/0/containerPort", "9001");
    json_decref(pod);
    json_object_del(at(fixture->secret, "metadata"), "uid");
    refused(fixture, "the owner of an object has no");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(from_settings_alone),
        TEST(the_template_stays),
        TEST(a_read_only_root_has_a_place_for_temporary_files),
        TEST(the_setting_stands_in),
        TEST(whose_image),
        cmocka_unit_test(images_of_kernel_json),
        cmocka_unit_test(wishes_of_amounts),
        TEST(amounts_beside_the_template),
        cmocka_unit_test(users_and_groups),
        TEST(privileged_ones_are_left),
        TEST(volumes),
        TEST(names_accounts_directories),
        TEST(wishes_that_do_not_count_are_not_seen),
        TEST(ports_and_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
