/* Any bytes as a policy: refused with a message, or one that answers for a request that asks for
 * what is dangerous, and never lets the host's root be mounted unless it says so itself, nor the
 * home's volume whatever it says. */
#include "launcher/kube_order.h"
#include "launcher/policy_file.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Puts a client's lists where it wants them. */
static const char template[] = "kind: Pod\nspec:\n  containers:\n  - name: kernel\n"
                               "    volumeMounts:\n"
                               "    {% for mount in kernel_volume_mounts %}\n    - {{ mount }}\n"
                               "    {% endfor %}\n  volumes:\n"
                               "  {% for volume in kernel_volumes %}\n  - {{ volume }}\n"
                               "  {% endfor %}\n";

static void order(const struct policy *policy, json_t *client, bool has_template, bool may) {
    struct provisioner_kubernetes_settings settings = {.install = "elara",
                                                       .gateway_namespace = "g",
                                                       .kernel_namespace = "n",
                                                       .pod = {.image = "image",
                                                               .launcher_image = "elara",
                                                               .uid = 1000,
                                                               .gid = 100,
                                                               .allowed = UINT32_MAX,
                                                               .policy = policy},
                                                       .home = {.export_path = "/export",
                                                                .path = "{user}",
                                                                .mount = "/home/ann",
                                                                .pvc = "homes",
                                                                .parent_gid = -1}};
    json_t *record = json_pack("{s:s, s:{s:s, s:O}}", "owner", "ann", "request", "verified", "ann",
                               "env", client),
           *launch = json_pack("{s:s, s:O}", "kernel_name", "python3", "env", client),
           *spec = json_object(), *owner = json_pack("{s:s, s:s}", "name", "key", "uid", "u"),
           *text = has_template ? json_string(template) : NULL;
    const struct kube_order wanted = {.settings = &settings,
                                      .kernel_id = "a-b-c-d-e",
                                      .record = record,
                                      .launch = launch,
                                      .spec = spec};
    const struct kube_attempt attempt = {
        .number = 1, .namespace = "n", .template = text, .owner = owner};
    struct kube_home home = {0};
    struct error err = {0};
    json_t *pod = NULL;
    if (kube_order_check(&wanted, &err) < 0 ||
        kube_order_pod(&wanted, &attempt, &pod, &home, &err) < 0)
        assert(err.text[0] != '\0');
    else
        assert(may);
    free(home.path);
    json_t *const trees[] = {pod, record, launch, spec, owner, text};
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++)
        json_decref(trees[i]);
}

static void ask(const struct policy *policy, const char *volumes, const char *mounts, bool may) {
    json_t *client =
        json_pack("{s:s, s:s, s:s, s:s}", "KERNEL_VOLUMES", volumes, "KERNEL_VOLUME_MOUNTS", mounts,
                  "KERNEL_UID", "1001", "KERNEL_IMAGE", "x/y:1");
    order(policy, client, false, may);
    order(policy, client, true, may);
    json_decref(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    struct policy *policy = NULL;
    if (policy_file_parse((const char *)data, size, "policy.yaml", NULL, &policy, &err) < 0) {
        assert(policy == NULL && err.code != ERROR_NONE && err.text[0] != '\0');
        return 0;
    }
    bool says_host = memmem(data, size, "host_paths", strlen("host_paths")) != NULL;
    ask(policy, "[{name: r, hostPath: {path: /}}]", "[]", says_host);
    ask(policy, "[{name: s, secret: {secretName: s}}]", "[]", false);
    ask(policy, "[{name: n, nfs: {server: s, path: /home/ann}}]", "[{name: n, mountPath: /n}]",
        true);
    ask(policy, "[]", "[{name: elara-home, mountPath: /all}]", false);
    ask(policy, "[{name: c, persistentVolumeClaim: {claimName: elara-home-0}}]", "[]", false);
    policy_destroy(policy);
    return 0;
}
