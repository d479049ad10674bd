/* What became of the pods of gateways and kernels, and whether the gateway reaches launchers. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/admin.h"
#include "gateway/doctor_cluster.h"
#include "launcher/kube_names.h"
#include "launcher/kube_objects.h"
#include "launcher/kube_status.h"
#include "launcher/kube_template.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECT_MS = 3000, PROBES_MAX = 4, TOLD_MAX = 5, STATUS_FORBIDDEN = 403 };

#define GATEWAYS "app.kubernetes.io/name=elara,app.kubernetes.io/component=gateway"

static const char network[] = "network";

/* ---- reaching a launcher ---- */

/* 0 or an errno. */
static int try_connect(const char *ip, int port) {
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(ip, service, &wanted, &found) != 0)
        return EINVAL;
    cleanup_close int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) < 0 ? errno : 0;
    freeaddrinfo(found);
    if (failed != EINPROGRESS)
        return failed;
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    socklen_t length = sizeof failed;
    if (poll(&writable, 1, CONNECT_MS) == 0)
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &length) < 0 ? errno : failed;
}

static int port_of(const json_t *pod) {
    const json_t *containers = json_object_get(json_object_get(pod, "spec"), "containers");
    size_t i, j;
    json_t *container, *port;
    json_array_foreach(containers, i, container) {
        json_array_foreach(json_object_get(container, "ports"), j, port) {
            if (strcmp(admin_text_at(port, "name"), KUBE_PORT_NAME) == 0)
                return (int)json_integer_value(json_object_get(port, "containerPort"));
        }
    }
    return KUBE_PORT_DEFAULT;
}

/* Does it rule who may reach this pod? matchExpressions are taken for fitting. */
static bool selects(const json_t *policy, const json_t *pod) {
    const json_t *spec = json_object_get(policy, "spec");
    const json_t *labels = json_object_get(json_object_get(pod, "metadata"), "labels");
    const json_t *types = json_object_get(spec, "policyTypes");
    json_t *wanted = json_object_get(json_object_get(spec, "podSelector"), "matchLabels");
    bool is_about_ingress = json_array_size(types) == 0;
    const char *name;
    json_t *value;
    size_t i;
    json_array_foreach(types, i, value) {
        is_about_ingress = is_about_ingress || strcmp(json_string_value(value), "Ingress") == 0;
    }
    json_object_foreach(wanted, name, value) {
        if (!json_equal(json_object_get(labels, name), value))
            return false;
    }
    return is_about_ingress;
}

/* "a, b": the NetworkPolicies that rule who may reach it, "" when there is none; NULL: we may not
 * look. */
static char *policies_of(struct cluster *cluster, const json_t *pod) {
    cleanup_free char *path = memory_printf("/apis/networking.k8s.io/v1/namespaces/%s/"
                                            "networkpolicies",
                                            kube_object_namespace(pod));
    cleanup_json json_t *found = NULL;
    struct error err;
    if (admin_kube_call(&cluster->kube, "GET", path, NULL, NULL, &found, &err) < 0)
        return NULL;
    char *names = memory_strdup("");
    size_t i;
    json_t *policy;
    json_array_foreach(json_object_get(found, "items"), i, policy) {
        if (!selects(policy, pod))
            continue;
        char *longer =
            memory_printf("%s%s%s", names, *names != '\0' ? ", " : "", kube_object_name(policy));
        free(names);
        names = longer;
    }
    return names;
}

static void tell_unreachable(struct cluster *cluster, const json_t *pod, const char *where,
                             int code) {
    cleanup_free char *names = policies_of(cluster, pod);
    cleanup_free char *policies =
        names == NULL    ? memory_strdup("its NetworkPolicies may not be looked at by us")
        : *names == '\0' ? memory_strdup("no NetworkPolicy is about it")
                         : memory_printf("it is ruled by the NetworkPolicies %s", names);
    doctor_tell(cluster->doctor, network, DOCTOR_FAIL,
                code == ECONNREFUSED
                    ? "look at the kernel's log (`kubectl logs`): its launcher does not listen"
                    : "let a NetworkPolicy admit the gateways' pods to that port "
                      "(manifests/base/kernels.yaml), and the network between the nodes pass it",
                memory_printf("the launcher of %s in %s cannot be reached at %s: %s; %s",
                              kube_object_name(pod), kube_object_namespace(pod), where,
                              strerror(code), policies));
}

static void tell_reached(struct cluster *cluster, const json_t *pod, int count) {
    cleanup_free char *names = policies_of(cluster, pod);
    if (count > 0 && names != NULL && *names == '\0')
        doctor_tell(cluster->doctor, network, DOCTOR_WARN,
                    "apply manifests/base/kernels.yaml, or set kubernetes_network_policy where "
                    "the gateway makes the namespaces",
                    memory_printf("no NetworkPolicy is about the kernels in %s: every pod reaches "
                                  "whatever they listen on",
                                  kube_object_namespace(pod)));
    doctor_tell(cluster->doctor, network, DOCTOR_OK, "",
                count == 0
                    ? memory_strdup("no kernel's pod runs that could be tried")
                    : memory_printf("%d of the launchers answer%s", count, count == 1 ? "s" : ""));
}

/* ---- pods ---- */

static json_t *events_of(struct cluster *cluster, const json_t *pod) {
    cleanup_free char *path =
        memory_printf("/api/v1/namespaces/%s/events", kube_object_namespace(pod));
    cleanup_free char *which = memory_printf("involvedObject.name=%s", kube_object_name(pod));
    cleanup_json json_t *found = NULL;
    struct error err;
    admin_kube_list(&cluster->kube, path, "fieldSelector", which, NULL, &found, &err);
    return json_incref(json_object_get(found, "items"));
}

static void judge(struct cluster *cluster, const json_t *pod, struct kube_pod_verdict *ret) {
    int64_t now_ms = kube_client_wall_ms(cluster->kube.client);
    kube_pod_judge(pod, NULL, now_ms, NULL, ret);
    if (ret->state == KUBE_POD_RUNNING)
        return;
    cleanup_json json_t *events = events_of(cluster, pod);
    kube_pod_judge(pod, events, now_ms, NULL, ret);
}

/* Whether it runs; else that is told. */
static bool check_pod(struct cluster *cluster, const json_t *pod, struct kube_pod_verdict *ret) {
    judge(cluster, pod, ret);
    bool is_failed = ret->state == KUBE_POD_FAILED, is_pending = ret->state == KUBE_POD_PENDING;
    cleanup_free char *fix =
        memory_printf("correct what it says; `kubectl -n %s describe pod %s` shows all of it",
                      kube_object_namespace(pod), kube_object_name(pod));
    if (is_failed || is_pending)
        doctor_tell(cluster->doctor, "pod", is_failed ? DOCTOR_FAIL : DOCTOR_WARN, fix,
                    memory_printf("%s in %s: %s%s%s", kube_object_name(pod),
                                  kube_object_namespace(pod), ret->reason, is_failed ? ": " : "",
                                  is_failed ? ret->message : ret->stage));
    return ret->state == KUBE_POD_RUNNING;
}

/* *forbidden: they may not be looked at. */
static json_t *list_pods(struct cluster *cluster, const char *namespace, const char *selector,
                         bool *is_forbidden) {
    cleanup_free char *path = namespace == NULL
                                  ? memory_strdup("/api/v1/pods")
                                  : memory_printf("/api/v1/namespaces/%s/pods", namespace);
    cleanup_json json_t *found = NULL;
    struct error err;
    int status;
    int failed =
        admin_kube_list(&cluster->kube, path, "labelSelector", selector, &status, &found, &err);
    *is_forbidden = status == STATUS_FORBIDDEN;
    if (failed < 0 && !*is_forbidden)
        doctor_tell(cluster->doctor, "pod", DOCTOR_FAIL, "correct what it says",
                    memory_strdup(err.text));
    return json_incref(json_object_get(found, "items"));
}

/* Gateways have no right to look at each other; an administrator has. */
static void check_gateways(struct cluster *cluster) {
    bool is_forbidden;
    cleanup_json json_t *pods =
        list_pods(cluster, cluster->kube.namespace, GATEWAYS, &is_forbidden);
    size_t i, running = 0, count = json_array_size(pods);
    json_t *pod;
    json_array_foreach(pods, i, pod) {
        struct kube_pod_verdict verdict;
        running += check_pod(cluster, pod, &verdict);
    }
    if (!is_forbidden && count == 0)
        doctor_tell(cluster->doctor, "pod", DOCTOR_WARN,
                    "name the namespace with --kubernetes-gateway-namespace; `kubectl describe "
                    "replicaset` there says why none is made",
                    memory_printf("no gateway has one in %s", cluster->kube.namespace));
    else if (!is_forbidden && running == count)
        doctor_tell(
            cluster->doctor, "pod", DOCTOR_OK, "",
            memory_printf("%zu of gateways in %s, all run", count, cluster->kube.namespace));
}

static void check_kernels(struct cluster *cluster) {
    cleanup_free char *selector = kube_selector(cluster->settings.install, "pod");
    bool is_forbidden;
    cleanup_json json_t *pods =
        list_pods(cluster, cluster->kernel_namespace, selector, &is_forbidden);
    const json_t *reached = NULL;
    int tried = 0, failed = 0;
    size_t i, told = 0;
    json_t *pod;
    json_array_foreach(pods, i, pod) {
        struct kube_pod_verdict verdict;
        if (told == TOLD_MAX || tried == PROBES_MAX)
            break;
        if (!check_pod(cluster, pod, &verdict)) {
            told++;
            continue;
        }
        int port = port_of(pod);
        int code = try_connect(verdict.ip, port);
        cleanup_free char *where = memory_printf("%s port %d", verdict.ip, port);
        tried++;
        failed += code != 0;
        if (code != 0)
            tell_unreachable(cluster, pod, where, code);
        else
            reached = pod;
    }
    if (!is_forbidden && failed == 0)
        tell_reached(cluster, reached, tried);
}

/* ---- kernels that have died of it ---- */

/* Why a kernel is dead, as its record has it: "ImagePullBackOff: ..."; NULL: it is not. */
static char *death_of(const json_t *secret) {
    struct kube_record *record = NULL;
    struct error err;
    if (kube_record_read(secret, &record, &err) < 0)
        return NULL;
    const char *cause = admin_text_at(record->record, "cause");
    char *text = record->state == KUBE_RECORD_DEAD && *cause != '\0'
                     ? memory_printf("%s: %s", cause, admin_text_at(record->record, "reason"))
                     : NULL;
    kube_record_free(record);
    return text;
}

/* What cannot be tried without a kernel, such as whether a node can pull its image, these know. */
static void check_deaths(struct cluster *cluster) {
    cleanup_free char *path =
        memory_printf("/api/v1/namespaces/%s/secrets", cluster->kube.namespace);
    cleanup_free char *selector = kube_selector(cluster->settings.install, "record");
    cleanup_json json_t *found = NULL, *deaths = json_object();
    struct error err;
    admin_kube_list(&cluster->kube, path, "labelSelector", selector, NULL, &found, &err);
    size_t i, told = 0;
    json_t *secret, *count;
    const char *text;
    json_array_foreach(json_object_get(found, "items"), i, secret) {
        cleanup_free char *death = death_of(secret);
        if (death != NULL)
            json_object_set_new(
                deaths, death,
                json_integer(json_integer_value(json_object_get(deaths, death)) + 1));
    }
    json_object_foreach(deaths, text, count) {
        if (told++ < TOLD_MAX)
            doctor_tell(cluster->doctor, "dead", DOCTOR_WARN,
                        "correct what it says; `elara kernels` shows them, `elara restart` tries "
                        "again",
                        memory_printf("%" JSON_INTEGER_FORMAT " kernel%s: %s",
                                      json_integer_value(count),
                                      json_integer_value(count) == 1 ? "" : "s", text));
    }
}

void doctor_check_pods(struct cluster *cluster) {
    check_gateways(cluster);
    check_kernels(cluster);
    check_deaths(cluster);
}
