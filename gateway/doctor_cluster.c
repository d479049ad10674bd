/* The API server of kernels that are pods: who we are there, its clock, and what we may do. */
#include "gateway/doctor_cluster.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/gateway.h"
#include "launcher/kube_rights.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_MS = 10000, SKEW_MAX_S = 60, HOST_SIZE = 256 };

#define REVIEWS "/apis/authorization.k8s.io/v1/"

static bool check_server_name(struct doctor *doctor, const char *server) {
    char *host = NULL;
    CURLU *url = curl_url();
    bool is_known = true;
    if (curl_url_set(url, CURLUPART_URL, server, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK && host[0] != '[')
        is_known = doctor_check_name(doctor, host, "the API server");
    curl_free(host);
    curl_url_cleanup(url);
    return is_known;
}

/* ---- who we are ---- */

static void tell_refusal(struct cluster *cluster, int status, const struct error *err) {
    struct doctor *doctor = cluster->doctor;
    bool is_answered = status != 0;
    if (status == 401)
        doctor_tell(doctor, "token", DOCTOR_FAIL,
                    "delete the pod, so that it gets a new token; outside of the cluster renew the "
                    "one in --kubeconfig",
                    memory_strdup(err->text));
    else if (!is_answered && err->code == ERROR_DENIED)
        doctor_tell(doctor, "certificate", DOCTOR_FAIL,
                    "correct the clock, or the certificate-authority of --kubeconfig; in a pod "
                    "delete it, so that it gets the cluster's own",
                    memory_strdup(err->text));
    else if (is_answered || check_server_name(doctor, kube_config_server(cluster->kube.config)))
        doctor_tell(doctor, "api-server", DOCTOR_FAIL,
                    "correct its address in --kubeconfig; in a pod see that it runs, and that no "
                    "NetworkPolicy keeps the gateway from it",
                    memory_strdup(err->text));
}

/* -1: it is told why it cannot be asked. */
static int find_user(struct cluster *cluster) {
    cleanup_json json_t *body = json_pack("{s:s, s:s}", "apiVersion", "authentication.k8s.io/v1",
                                          "kind", "SelfSubjectReview");
    cleanup_json json_t *answer = NULL;
    struct error err;
    int status;
    struct admin_kube *kube = &cluster->kube;
    kube->is_once = true; /* what is wrong is not to be waited out */
    int failed = admin_kube_call(kube, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                                 body, &status, &answer, &err);
    kube->is_once = false;
    cluster->is_answered = status != 0;
    if (failed < 0 && status != 404) { /* before Kubernetes 1.28 nobody tells */
        tell_refusal(cluster, status, &err);
        return -1;
    }
    const char *name = json_string_value(json_object_get(
        json_object_get(json_object_get(answer, "status"), "userInfo"), "username"));
    const char *origin = kube_config_origin(kube->config);
    cluster->self = memory_strdup(name != NULL ? name : origin);
    doctor_tell(cluster->doctor, "api-server", DOCTOR_OK, "",
                memory_printf("%s knows %s as %s", kube_config_server(kube->config), origin,
                              cluster->self));
    return 0;
}

/* Of certificates, tokens and graces; doctor_machine.c cannot know who of two is right. */
static void check_clock(struct cluster *cluster) {
    int64_t ahead_s = kube_client_clock_ahead_s(cluster->kube.client);
    int64_t off_s = ahead_s < 0 ? -ahead_s : ahead_s;
    if (!cluster->is_answered)
        return;
    if (off_s == 0)
        doctor_tell(cluster->doctor, "clock", DOCTOR_OK, "",
                    memory_strdup("the API server's agrees with ours"));
    else
        doctor_tell(cluster->doctor, "clock", off_s > SKEW_MAX_S ? DOCTOR_FAIL : DOCTOR_WARN,
                    "let NTP set both: certificates and tokens are good for a time only",
                    memory_printf("the API server's is %" PRId64 " s %s ours", off_s,
                                  ahead_s < 0 ? "behind" : "ahead of"));
}

/* ---- rights ---- */

static unsigned needs_of(const struct cluster *cluster) {
    const struct provisioner_kubernetes_settings *settings = &cluster->settings;
    unsigned needs = KUBE_NEED_KERNELS;
    if (cluster->needs_token_review)
        needs |= KUBE_NEED_TOKEN_REVIEW;
    if (settings->namespaces == KUBERNETES_FIXED)
        return needs;
    needs |= KUBE_NEED_NAMESPACES;
    if (settings->namespaces == KUBERNETES_PER_KERNEL)
        needs |= KUBE_NEED_OWN_NAMESPACES;
    if (json_object_size(settings->network_policy) > 0)
        needs |= KUBE_NEED_NETWORK_POLICY;
    if (settings->home.makes_claims)
        needs |= KUBE_NEED_HOME_CLAIMS;
    if (text_or_null(settings->cluster_role) != NULL)
        needs |= KUBE_NEED_KERNEL_ROLE;
    return needs;
}

static const char *namespace_of(const struct cluster *cluster, const struct kube_right *right) {
    if (right->place == KUBE_RIGHT_OF_RECORDS)
        return cluster->kube.namespace;
    return right->place == KUBE_RIGHT_OF_KERNELS ? cluster->kernel_namespace : NULL;
}

/* Of ourselves anybody may ask; of another account whoever may make SubjectAccessReviews. */
static json_t *review_of(const struct cluster *cluster, const struct kube_missing_right *asked) {
    json_t *spec = json_pack("{s:{s:s, s:s, s:s, s:s*, s:s*}}", "resourceAttributes", "verb",
                             asked->verb, "group", asked->group, "resource", asked->resource,
                             "namespace", asked->namespace, "name", asked->name);
    if (cluster->account != NULL) {
        cleanup_free char *group =
            memory_printf("system:serviceaccounts:%s", cluster->kube.namespace);
        json_object_set_new(spec, "user", json_string(cluster->account));
        json_object_set_new(
            spec, "groups",
            json_pack("[s, s, s]", "system:serviceaccounts", group, "system:authenticated"));
    }
    return json_pack("{s:s, s:s, s:o}", "apiVersion", "authorization.k8s.io/v1", "kind",
                     cluster->account != NULL ? "SubjectAccessReview" : "SelfSubjectAccessReview",
                     "spec", spec);
}

/* 1: it is granted; 0: it is told that it is not; -1: that it cannot be asked. */
static int check_right(struct cluster *cluster, const struct kube_missing_right *asked) {
    cleanup_json json_t *review = review_of(cluster, asked);
    cleanup_json json_t *answer = NULL;
    struct error err;
    const char *path = cluster->account != NULL ? REVIEWS "subjectaccessreviews"
                                                : REVIEWS "selfsubjectaccessreviews";
    if (admin_kube_call(&cluster->kube, "POST", path, review, NULL, &answer, &err) < 0) {
        doctor_tell(cluster->doctor, "rights", DOCTOR_FAIL,
                    "ask as the gateway itself, or as an administrator of the cluster",
                    memory_printf("they cannot be asked for: %s", err.text));
        return -1;
    }
    if (json_is_true(json_object_get(json_object_get(answer, "status"), "allowed")))
        return 1;
    kube_right_explain(asked, &err);
    doctor_tell(cluster->doctor, "rights", DOCTOR_FAIL,
                "apply the Roles of manifests/ again (docs/kubernetes.md), as they were made for "
                "these settings",
                memory_strdup(err.text));
    return 0;
}

/* How many of its verbs are granted; -1 as above. */
static int check_verbs(struct cluster *cluster, const struct kube_right *right, int *asked) {
    cleanup_free char *verbs = memory_strdup(right->verbs);
    char *rest = NULL;
    int granted = 0;
    for (char *verb = strtok_r(verbs, " ", &rest); verb != NULL;
         verb = strtok_r(NULL, " ", &rest)) {
        bool is_role = strcmp(verb, "bind") == 0;
        const struct kube_missing_right one = {
            .user = cluster->account != NULL ? cluster->account : cluster->self,
            .verb = verb,
            .group = right->group,
            .resource = right->resource,
            .name = is_role ? cluster->settings.cluster_role : NULL,
            .namespace = namespace_of(cluster, right),
            .server = kube_config_server(cluster->kube.config)};
        int is_granted = check_right(cluster, &one);
        if (is_granted < 0)
            return -1;
        granted += is_granted;
        (*asked)++;
    }
    return granted;
}

static void check_rights(struct cluster *cluster) {
    const struct kube_right *right;
    unsigned needs = needs_of(cluster);
    int asked = 0, granted = 0;
    for (size_t i = 0; (right = kube_right_at(i)) != NULL; i++) {
        if ((right->needs & needs) == 0)
            continue;
        int of_these = check_verbs(cluster, right, &asked);
        if (of_these < 0)
            return;
        granted += of_these;
    }
    if (granted == asked)
        doctor_tell(cluster->doctor, "rights", DOCTOR_OK, "",
                    memory_printf("%s has all %d that these settings need",
                                  cluster->account != NULL ? cluster->account : cluster->self,
                                  asked));
}

/* ---- all of it ---- */

static void examine(struct cluster *cluster, const struct doctor_cluster_wish *wish) {
    if (find_user(cluster) == 0) {
        check_rights(cluster);
        doctor_check_pods(cluster);
    }
    check_clock(cluster);
    doctor_check_homes(cluster, wish->user);
}

void doctor_check_cluster(struct doctor *doctor, struct settings *settings,
                          const struct doctor_cluster_wish *wish) {
    struct gateway gateway = {.settings = settings};
    struct cluster cluster = {.doctor = doctor, .needs_token_review = settings->token_review};
    struct error err = {0};
    /* What is wrong with the image of the launcher is told elsewhere. */
    bool is_usable = gateway_load_policy(&gateway, &err) == 0;
    if (is_usable)
        gateway_kubernetes_settings(&gateway, &cluster.settings, &err);
    if (!is_usable || admin_kube_open(&cluster.kube, settings, &err) < 0) {
        doctor_tell(doctor, is_usable ? "credentials" : "settings", DOCTOR_FAIL,
                    is_usable ? "name a --kubeconfig; a pod needs its service account's token "
                                "(automountServiceAccountToken)"
                              : "correct the file that it names",
                    memory_strdup(err.text));
    } else {
        bool is_fixed = cluster.settings.namespaces == KUBERNETES_FIXED;
        const char *place = cluster.settings.kernel_namespace;
        cluster.kube.deadline_ms = CALL_MS;
        cluster.kernel_namespace = !is_fixed       ? NULL
                                   : place != NULL ? place
                                                   : cluster.kube.namespace;
        if (wish->account != NULL)
            cluster.account =
                memory_printf("system:serviceaccount:%s:%s", cluster.kube.namespace, wish->account);
        examine(&cluster, wish);
    }
    free(cluster.self);
    free(cluster.account);
    if (cluster.kube.loop != NULL)
        admin_kube_close(&cluster.kube);
    policy_destroy(gateway.policy);
    json_decref(gateway.home_uids);
}
