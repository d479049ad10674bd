/* Any bytes as a policy: refused with a message, or one that answers for a request that asks for
 * what is dangerous, and never lets the host's root be mounted unless it says so itself. */
#include "launcher/kube_pod.h"
#include "launcher/policy_file.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct policy *policy, const char *volumes, bool may) {
    const struct kube_pod_settings settings = {.image = "image",
                                               .launcher_image = "elara",
                                               .uid = 1000,
                                               .gid = 100,
                                               .allowed = UINT32_MAX,
                                               .policy = policy};
    json_t *secret = json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "Secret",
                               "metadata", "name", "key", "uid", "u");
    json_t *client = json_pack("{s:s, s:s, s:s}", "KERNEL_VOLUMES", volumes, "KERNEL_UID", "1001",
                               "KERNEL_IMAGE", "x/y:1");
    const struct kube_pod_plan plan = {.identity = {"elara", "a-b-c-d-e", "ann"},
                                       .settings = &settings,
                                       .namespace = "n",
                                       .attempt = 1,
                                       .kernelspec = "python3",
                                       .values = client,
                                       .client = client,
                                       .key_secret = secret};
    json_t *pod = NULL;
    struct error err = {0};
    if (kube_pod_create(&plan, &pod, &err) < 0)
        assert(pod == NULL && err.text[0] != '\0');
    else
        assert(may);
    json_decref(pod);
    json_decref(client);
    json_decref(secret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    struct policy *policy = NULL;
    if (policy_file_parse((const char *)data, size, "policy.yaml", NULL, &policy, &err) < 0) {
        assert(policy == NULL && err.code != ERROR_NONE && err.text[0] != '\0');
        return 0;
    }
    bool says_host = memmem(data, size, "host_paths", strlen("host_paths")) != NULL;
    ask(policy, "[{name: r, hostPath: {path: /}}]", says_host);
    ask(policy, "[{name: s, secret: {secretName: s}}]", false);
    ask(policy, "[{name: n, nfs: {server: s, path: /home/ann}}]", true);
    policy_destroy(policy);
    return 0;
}
