/* How to reach a Kubernetes API server and who we are there: from a pod's service account, or from
 * a kubeconfig (https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/).
 *
 * Of a user entry we take token, tokenFile, client-certificate(-data) with client-key(-data), or
 * nothing (anonymous); of a cluster server, certificate-authority(-data), tls-server-name,
 * insecure-skip-tls-verify and proxy-url. exec, auth-provider, username and impersonation are
 * ERROR_UNSUPPORTED, naming the entry. Paths in a kubeconfig are relative to it. Secrets are wiped
 * when they are replaced and by destroy. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct kube_config;

/* The files of `kubeconfig` (separated by ':') are merged as kubectl does: the first that has an
 * entry of a name wins, so does the first current-context; a file that is not there is passed over,
 * unless none is. context: a name of the file's contexts; NULL or "": its current-context. Errors
 * name the field and the file. */
int kube_config_load(const char *kubeconfig, const char *context, struct kube_config **ret,
                     struct error *err);

/* A pod's own service account. directory: NULL is /var/run/secrets/kubernetes.io/serviceaccount,
 * with token, ca.crt and namespace in it. host, port: NULL is KUBERNETES_SERVICE_HOST and _PORT of
 * the environment; ERROR_NOT_FOUND when we are in no pod. Never through a proxy. */
int kube_config_in_cluster(const char *directory, const char *host, const char *port,
                           struct kube_config **ret, struct error *err);

void kube_config_destroy(struct kube_config *config);

/* All live as long as the config. */
const char *kube_config_server(const struct kube_config *config); /* "https://10.0.0.1:6443" */
/* The context's or the pod's; never empty. */
const char *kube_config_namespace(const struct kube_config *config);
/* For the log: "context dev of /home/ann/.kube/config", "the pod's service account". */
const char *kube_config_origin(const struct kube_config *config);
/* insecure-skip-tls-verify is set: worth a warning. */
bool kube_config_is_insecure(const struct kube_config *config);

/* The rest is the client's. */

/* Credentials: a NUL follows them; data is NULL where there is none. */
enum kube_secret_kind {
    KUBE_TOKEN,       /* without line end */
    KUBE_CERTIFICATE, /* PEM: ours, with its key */
    KUBE_KEY,         /* PEM */
    KUBE_AUTHORITY,   /* PEM: whom to trust; none: whom the system trusts */
    KUBE_SECRETS,
};

struct kube_secret {
    char *data;
    size_t length;
};

/* What lies in files is read again when they have changed: looked at every 10 s at most, or now
 * when `force`. What cannot be read, or makes no sense, leaves what we had. True: something is
 * another than before. */
bool kube_config_refresh(struct kube_config *config, bool force);
/* Valid until the next refresh. */
const struct kube_secret *kube_config_secret(const struct kube_config *config,
                                             enum kube_secret_kind kind);
/* The name the server's certificate has to have; NULL: its host. */
const char *kube_config_tls_name(const struct kube_config *config);
/* NULL: as the environment says (https_proxy, no_proxy); "": none. May hold a password. */
const char *kube_config_proxy(const struct kube_config *config);
