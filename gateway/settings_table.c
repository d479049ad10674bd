#include "gateway/settings_internal.h"

#define ROW(row_name, env, row_type, field, default_text, ...)                                     \
    {                                                                                              \
        .name = (row_name), .environment = (env), .type = (row_type),                              \
        .offset = offsetof(struct settings, field), .fallback = (default_text), __VA_ARGS__        \
    }

enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS };
#define DAY_MS     (INT64_C(86400) * 1000)
#define KIB(count) (INT64_C(1024) * (count))
#define MIB(count) (KIB(1024) * (count))

#define NETWORK    "Network"
#define CORS       "Cross-origin requests"
#define ACCESS     "Who may come in"
#define SPECS      "Kernelspecs"
#define KERNELS    "Kernels"
#define CULLING    "Culling"
#define HOMES      "Homes"
#define KUBERNETES "Kubernetes"
#define LIMITS     "Limits"
#define PROCESS    "The gateway itself"

static const struct option_row table[] = {
    ROW("ip", "ELARA_IP,EG_IP,KG_IP", OPTION_TEXT, ip, "127.0.0.1", .group = NETWORK,
        .help =
            "Address to listen on. Anything but a loopback address needs a token or --insecure."),
    ROW("port", "ELARA_PORT,EG_PORT,KG_PORT", OPTION_INT, port, "8888", .min = 0, .max = 65535,
        .group = NETWORK, .help = "Port to listen on; 0 takes a free one and logs it."),
    ROW("port-retries", "ELARA_PORT_RETRIES,EG_PORT_RETRIES,KG_PORT_RETRIES", OPTION_INT,
        port_retries, "0", .min = 0, .max = 1000, .group = NETWORK,
        .help = "How many further ports to try when the port is taken. The default is to fail and "
                "say so, "
                "because clients would not find another port (JEG: 50)."),
    ROW("base-url", "ELARA_BASE_URL,EG_BASE_URL,KG_BASE_URL", OPTION_TEXT, base_url, "/",
        .check = settings_check_base_url, .group = NETWORK,
        .help = "Path that every route lies below, such as /gateway/."),
    ROW("certfile", "ELARA_CERTFILE,EG_CERTFILE,KG_CERTFILE", OPTION_TEXT, certfile, NULL,
        .flags = OPTION_RELOAD, .group = NETWORK,
        .help = "PEM file with the TLS certificate and its chain; the key too, unless keyfile "
                "names it."),
    ROW("keyfile", "ELARA_KEYFILE,EG_KEYFILE,KG_KEYFILE", OPTION_TEXT, keyfile, NULL,
        .flags = OPTION_RELOAD, .group = NETWORK, .help = "PEM file with the TLS key."),
    ROW("client-ca", "ELARA_CLIENT_CA,EG_CLIENT_CA,KG_CLIENT_CA", OPTION_TEXT, client_ca, NULL,
        .flags = OPTION_RELOAD, .group = NETWORK,
        .help =
            "PEM file of certificate authorities: clients must then show a certificate of theirs."),
    ROW("client-ca-optional", "ELARA_CLIENT_CA_OPTIONAL", OPTION_BOOL, client_ca_optional, "false",
        .flags = OPTION_RELOAD, .group = NETWORK,
        .help = "Clients without a certificate may come in by other means, such as a token."),
    ROW("hsts", "ELARA_HSTS", OPTION_DURATION, hsts_ms, "30d", .flags = OPTION_RELOAD,
        .group = NETWORK,
        .help = "With TLS, for how long browsers are told to come to this host by HTTPS alone, on "
                "whatever port (Strict-Transport-Security). 0: they are not."),
    ROW("trust-xheaders", "ELARA_TRUST_XHEADERS,EG_TRUST_XHEADERS,KG_TRUST_XHEADERS", OPTION_BOOL,
        trust_xheaders, "false", .flags = OPTION_RELOAD, .group = NETWORK,
        .help = "Believe X-Real-Ip and X-Forwarded-For. Only behind a proxy that sets them."),
    ROW("ws-ping-interval", "ELARA_WS_PING_INTERVAL,EG_WS_PING_INTERVAL_SECS", OPTION_DURATION,
        ws_ping_interval_ms, "30s", .min = 0, .max = 60 * MINUTE_MS, .flags = OPTION_RELOAD,
        .group = NETWORK,
        .help = "How often WebSocket clients are pinged; one that is silent for three intervals is "
                "dropped. 0: never."),

    ROW("allow-origin", "ELARA_ALLOW_ORIGIN,EG_ALLOW_ORIGIN,KG_ALLOW_ORIGIN", OPTION_TEXT,
        allow_origin, NULL, .flags = OPTION_RELOAD, .group = CORS,
        .help = "Access-Control-Allow-Origin, and the origin (or *) from which browsers may call "
                "besides our own."),
    ROW("allow-credentials", "ELARA_ALLOW_CREDENTIALS,EG_ALLOW_CREDENTIALS,KG_ALLOW_CREDENTIALS",
        OPTION_TEXT, allow_credentials, NULL, .flags = OPTION_RELOAD, .group = CORS,
        .help = "Access-Control-Allow-Credentials."),
    ROW("allow-headers", "ELARA_ALLOW_HEADERS,EG_ALLOW_HEADERS,KG_ALLOW_HEADERS", OPTION_TEXT,
        allow_headers, NULL, .flags = OPTION_RELOAD, .group = CORS,
        .help = "Access-Control-Allow-Headers."),
    ROW("allow-methods", "ELARA_ALLOW_METHODS,EG_ALLOW_METHODS,KG_ALLOW_METHODS", OPTION_TEXT,
        allow_methods, NULL, .flags = OPTION_RELOAD, .group = CORS,
        .help = "Access-Control-Allow-Methods."),
    ROW("expose-headers", "ELARA_EXPOSE_HEADERS,EG_EXPOSE_HEADERS,KG_EXPOSE_HEADERS", OPTION_TEXT,
        expose_headers, NULL, .flags = OPTION_RELOAD, .group = CORS,
        .help = "Access-Control-Expose-Headers."),
    ROW("max-age", "ELARA_MAX_AGE,EG_MAX_AGE,KG_MAX_AGE", OPTION_TEXT, max_age, NULL,
        .flags = OPTION_RELOAD, .group = CORS, .help = "Access-Control-Max-Age."),

    ROW("auth-token", "ELARA_AUTH_TOKEN,EG_AUTH_TOKEN,KG_AUTH_TOKEN", OPTION_TEXT, auth_token, NULL,
        .flags = OPTION_SECRET | OPTION_RELOAD, .group = ACCESS,
        .help = "One token shared by all clients, with the role admin."),
    ROW("auth-token-file", "ELARA_AUTH_TOKEN_FILE", OPTION_TEXT, auth_token_file, NULL,
        .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "File of names, roles and hashed tokens (docs/security.md); read again when it "
                "changes."),
    ROW("client-certificate-user", "ELARA_CLIENT_CERTIFICATE_USER", OPTION_ENUM, certificate_user,
        "none", .choices = "none|cn|email|dns|uri", .flags = OPTION_RELOAD, .group = ACCESS,
        .help =
            "Which name in a client's certificate (client-ca) is its user: the subject's CN, or "
            "the only alternative name of that type."),
    ROW("proxy-user-header", "ELARA_PROXY_USER_HEADER", OPTION_TEXT, proxy_user_header, NULL,
        .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "Header in which a proxy says who the user is, such as X-Forwarded-User. The proxy "
                "must remove it from what clients send."),
    ROW("proxy-addresses", "ELARA_PROXY_ADDRESSES", OPTION_LIST, proxy_addresses, NULL,
        .flags = OPTION_RELOAD, .group = ACCESS,
        .help =
            "Addresses and networks of that proxy, such as 10.0.0.7,fd00::/8; the header counts "
            "from nowhere else."),
    ROW("oidc-issuer", "ELARA_OIDC_ISSUER", OPTION_TEXT, oidc_issuer, NULL, .flags = OPTION_RELOAD,
        .group = ACCESS,
        .help = "URL of an OpenID Connect provider: tokens (JWT) that it has signed are taken."),
    ROW("oidc-audience", "ELARA_OIDC_AUDIENCE", OPTION_TEXT, oidc_audience, NULL,
        .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "What must stand in the aud of such a token; needed."),
    ROW("oidc-user-claim", "ELARA_OIDC_USER_CLAIM", OPTION_TEXT, oidc_user_claim,
        "preferred_username", .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "The claim that is the user's name. Its values must be unique, and not the users' "
                "to choose."),
    ROW("token-review", "ELARA_TOKEN_REVIEW", OPTION_BOOL, token_review, "false",
        .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "Take tokens of Kubernetes service accounts: the account's name is the user. Needs "
                "the right to create tokenreviews."),
    ROW("token-review-namespaces", "ELARA_TOKEN_REVIEW_NAMESPACES", OPTION_LIST, review_namespaces,
        NULL, .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "Namespaces whose service accounts may come in; needed. With more than one a "
                "user's name is NAMESPACE.ACCOUNT: alice of two of them are two users."),
    ROW("token-review-audiences", "ELARA_TOKEN_REVIEW_AUDIENCES", OPTION_LIST, review_audiences,
        NULL, .flags = OPTION_RELOAD, .group = ACCESS,
        .help =
            "Audiences that the tokens may be for; empty: the API server's own, as of the token "
            "that each pod has."),
    ROW("jupyterhub-api-url", "ELARA_JUPYTERHUB_API_URL", OPTION_TEXT, hub_api_url, NULL,
        .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "URL of a JupyterHub's API, such as http://hub:8081/hub/api: tokens of its users "
                "are taken, those of their servers (JUPYTERHUB_API_TOKEN) among them."),
    ROW("jupyterhub-scopes", "ELARA_JUPYTERHUB_SCOPES", OPTION_LIST, hub_scopes, "access:servers",
        .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "Scopes of which such a token must have one: for all, or for what is the user's "
                "own. Empty: any token, of those who visit another's server too."),
    ROW("auth-ca", "ELARA_AUTH_CA", OPTION_TEXT, auth_ca, NULL, .flags = OPTION_RELOAD,
        .group = ACCESS,
        .help = "PEM file of the authorities of oidc-issuer and jupyterhub-api-url; empty: those "
                "that the system trusts."),
    ROW("auth-cache", "ELARA_AUTH_CACHE", OPTION_DURATION, auth_keep_ms, "60s", .min = 1000,
        .max = 60 * MINUTE_MS, .flags = OPTION_RELOAD, .group = ACCESS,
        .help =
            "How long a yes of oidc-issuer, token-review or jupyterhub-api-url counts, and so a "
            "token that was revoked there. Whether who opened a WebSocket may still is asked so "
            "often, too."),
    ROW("admin-users", "ELARA_ADMIN_USERS", OPTION_LIST, admin_users, NULL, .flags = OPTION_RELOAD,
        .group = ACCESS,
        .help = "Users with the role admin, of those that something else than auth-token-file "
                "knows."),
    ROW("viewer-users", "ELARA_VIEWER_USERS", OPTION_LIST, viewer_users, NULL,
        .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "Users with the role viewer, of the same."),
    ROW("insecure", "ELARA_INSECURE", OPTION_BOOL, insecure, "false", .group = ACCESS,
        .help =
            "Listen beyond loopback without any token: whoever reaches the port runs code as us."),
    ROW("allow-hosts", "ELARA_ALLOW_HOSTS", OPTION_LIST, allow_hosts, NULL, .flags = OPTION_RELOAD,
        .group = ACCESS,
        .help = "Names by which a gateway on loopback without a token may be called besides "
                "localhost, loopback addresses and the host of allow-origin, as behind a proxy "
                "that passes Host on; * and ? allowed."),
    ROW("authorized-users", "ELARA_AUTHORIZED_USERS,EG_AUTHORIZED_USERS", OPTION_LIST,
        authorized_users, NULL, .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "Users that may start kernels; empty: all. A user is the name of the client's own "
                "token, else what it says to be KERNEL_USERNAME (docs/kernelspecs.md)."),
    ROW("unauthorized-users", "ELARA_UNAUTHORIZED_USERS,EG_UNAUTHORIZED_USERS", OPTION_LIST,
        unauthorized_users, "root", .flags = OPTION_RELOAD, .group = ACCESS,
        .help = "Users that may not. A request of nobody in particular is not concerned."),

    ROW("kernelspec-dirs", "ELARA_KERNELSPEC_DIRS", OPTION_LIST, kernelspec_dirs, NULL,
        .flags = OPTION_RELOAD, .group = SPECS,
        .help = "Directories that hold kernelspec directories, instead of Jupyter's search path."),
    ROW("allowed-kernelspecs", "ELARA_ALLOWED_KERNELSPECS,EG_ALLOWED_KERNELS,EG_KERNEL_WHITELIST",
        OPTION_LIST, allowed_kernelspecs, NULL, .flags = OPTION_RELOAD, .group = SPECS,
        .help = "Names of the kernelspecs to offer, * and ? allowed; empty: all."),
    ROW("denied-kernelspecs", "ELARA_DENIED_KERNELSPECS", OPTION_LIST, denied_kernelspecs, NULL,
        .flags = OPTION_RELOAD, .group = SPECS,
        .help = "Names of kernelspecs to hide, also from the allowed ones."),
    ROW("kernelspecs-interval", "ELARA_KERNELSPECS_INTERVAL", OPTION_DURATION,
        kernelspecs_interval_ms, "60s", .min = 0, .max = DAY_MS, .flags = OPTION_RELOAD,
        .group = SPECS,
        .help = "How often kernelspecs are read again though no change was heard of, as when "
                "another machine writes on NFS. 0: never."),
    ROW("default-kernel-name",
        "ELARA_DEFAULT_KERNEL_NAME,EG_DEFAULT_KERNEL_NAME,KG_DEFAULT_KERNEL_NAME", OPTION_TEXT,
        default_kernel_name, NULL, .flags = OPTION_RELOAD, .group = SPECS,
        .help = "Kernelspec for requests that name none. Default: python3 if there is one, else "
                "the first."),
    ROW("publish-kernelspec-env", "ELARA_PUBLISH_KERNELSPEC_ENV", OPTION_BOOL,
        publish_kernelspec_env, "false", .flags = OPTION_RELOAD, .group = SPECS,
        .help = "Show the values of a kernelspec's env to clients, not only the names."),

    ROW("client-envs", "ELARA_CLIENT_ENVS,EG_CLIENT_ENVS,EG_ENV_WHITELIST", OPTION_LIST,
        client_envs, NULL, .flags = OPTION_RELOAD, .group = KERNELS,
        .help = "Variables that a client may set besides KERNEL_*; * means any."),
    ROW("inherited-envs", "ELARA_INHERITED_ENVS,EG_INHERITED_ENVS,EG_ENV_PROCESS_WHITELIST",
        OPTION_LIST, inherited_envs,
        "PATH,HOME,USER,LOGNAME,SHELL,LANG,LANGUAGE,LC_ALL,LC_CTYPE,TZ,TMPDIR,LD_LIBRARY_PATH,"
        "VIRTUAL_ENV,CONDA_PREFIX,JUPYTER_PATH,JUPYTER_DATA_DIR,IPYTHONDIR,PYTHONPATH",
        .flags = OPTION_RELOAD, .group = KERNELS,
        .help = "Variables that kernels get from the gateway's own environment; * means all but "
                "the gateway's "
                "settings and secrets. JEG hands everything over to a request without env."),
    ROW("python", "ELARA_PYTHON", OPTION_TEXT, python, NULL, .flags = OPTION_RELOAD,
        .group = KERNELS,
        .help = "Interpreter for kernelspecs whose argv begins with python, python3 or python3.N. "
                "Default: "
                "the one found on PATH."),
    ROW("root-dir", "ELARA_ROOT_DIR", OPTION_TEXT, root_dir, NULL, .flags = OPTION_RELOAD,
        .group = KERNELS,
        .help =
            "Directory below which kernels get their working directory. Default: the current one."),
    ROW("launch-timeout", "ELARA_LAUNCH_TIMEOUT,EG_KERNEL_LAUNCH_TIMEOUT", OPTION_DURATION,
        launch_timeout_ms, "60s", .min = SECOND_MS, .max = DAY_MS, .flags = OPTION_RELOAD,
        .group = KERNELS,
        .help = "How long a kernel may take to start; KERNEL_LAUNCH_TIMEOUT in a request overrides "
                "it."),
    ROW("shutdown-wait", "ELARA_SHUTDOWN_WAIT", OPTION_DURATION, shutdown_wait_ms, "5s", .min = 0,
        .max = 60 * MINUTE_MS, .flags = OPTION_RELOAD, .group = KERNELS,
        .help =
            "How long a kernel may take to end before it is killed; SIGTERM comes at half of it."),
    ROW("restart-limit", "ELARA_RESTART_LIMIT", OPTION_INT, restart_limit, "5", .min = 0,
        .max = 1000, .flags = OPTION_RELOAD, .group = KERNELS,
        .help = "How often in a row a kernel that died by itself is started again; 0: never."),
    ROW("restart-stable-after", "ELARA_RESTART_STABLE_AFTER", OPTION_DURATION,
        restart_stable_after_ms, "10s", .min = 0, .max = DAY_MS, .flags = OPTION_RELOAD,
        .group = KERNELS,
        .help = "A kernel that lived this long starts the count of restarts anew."),
    ROW("kernel-transport", "ELARA_KERNEL_TRANSPORT", OPTION_ENUM, kernel_transport, "auto",
        .choices = "auto|tcp|ipc", .flags = OPTION_RELOAD, .group = KERNELS,
        .help = "How a launcher talks to its kernel. Every kernel knows tcp; ipc saves ports, and "
                "nobody else on the machine can listen. auto: ipc with run-as-owner, else tcp."),
    ROW("run-as-owner", "ELARA_RUN_AS_OWNER,EG_IMPERSONATION_ENABLED", OPTION_BOOL, run_as_owner,
        "false", .group = KERNELS,
        .help = "Run each local kernel as the account of this machine that has its owner's name "
                "(docs/security.md). The gateway has to be root. Pods have users of their own."),
    ROW("run-as-min-uid", "ELARA_RUN_AS_MIN_UID", OPTION_INT, run_as_min_uid, "1000", .min = 1,
        .max = 4294967294, .group = KERNELS,
        .help = "The lowest uid that run-as-owner takes: accounts below it are the system's."),
    ROW("policy", "ELARA_POLICY", OPTION_TEXT, policy, NULL, .check = settings_check_policy,
        .flags = OPTION_RELOAD, .group = KERNELS,
        .help = "YAML file of what requests may say, and make of their pods: users, variables, "
                "images, volumes, amounts (docs/policy.md); read again when it changes. Without "
                "one kubernetes-allow says it."),
    ROW("list-kernels", "ELARA_LIST_KERNELS,EG_LIST_KERNELS,KG_LIST_KERNELS", OPTION_BOOL,
        list_kernels, "true", .flags = OPTION_RELOAD, .group = KERNELS,
        .help =
            "Answer GET /api/kernels and /api/sessions, which notebook servers need (JEG: off)."),
    ROW("runtime-dir", "ELARA_RUNTIME_DIR", OPTION_TEXT, runtime_dir, NULL, .group = KERNELS,
        .help = "Private directory for what runs (sockets, journals). Default: "
                "$XDG_RUNTIME_DIR/elara, else "
                "/run/elara for root and /tmp/elara-UID for others."),
    ROW("launcher", "ELARA_LAUNCHER", OPTION_TEXT, launcher, NULL, .group = KERNELS,
        .help = "The elara-launcher program. Default: the one beside elara-gateway."),
    ROW("on-exit", "ELARA_ON_EXIT", OPTION_ENUM, on_exit, "leave", .choices = "leave|shutdown",
        .flags = OPTION_RELOAD, .group = KERNELS,
        .help = "What becomes of the kernels when the gateway ends: left for the next gateway, or "
                "shut down (as JEG)."),

    ROW("provisioner", "ELARA_PROVISIONER", OPTION_ENUM, provisioner, "local",
        .choices = "local|kubernetes", .group = KUBERNETES,
        .help = "Where kernels run: as processes beside the gateway, or as pods "
                "(docs/kubernetes.md)."),
    ROW("kubeconfig", "ELARA_KUBECONFIG,KUBECONFIG", OPTION_TEXT, kubernetes.kubeconfig, NULL,
        .group = KUBERNETES,
        .help = "How to reach the cluster. Default: the pod's own service account."),
    ROW("kube-context", "ELARA_KUBE_CONTEXT", OPTION_TEXT, kubernetes.context, NULL,
        .group = KUBERNETES, .help = "Context of the kubeconfig. Default: its current-context."),
    ROW("kubernetes-install", "ELARA_KUBERNETES_INSTALL", OPTION_TEXT, kubernetes.install, "elara",
        .check = settings_check_install, .group = KUBERNETES,
        .help = "Name of this installation, on every object it makes: installations in one cluster "
                "never touch each other's kernels. Its replicas share it."),
    ROW("kubernetes-gateway-namespace", "ELARA_KUBERNETES_GATEWAY_NAMESPACE,EG_NAMESPACE",
        OPTION_TEXT, kubernetes.gateway_namespace, NULL, .group = KUBERNETES,
        .help = "Namespace of the kernels' records and the gateways' keys. Default: the pod's own "
                "or the context's."),
    ROW("kubernetes-namespaces", "ELARA_KUBERNETES_NAMESPACES,EG_SHARED_NAMESPACE", OPTION_ENUM,
        kubernetes.namespaces, "fixed", .choices = "fixed|user|kernel|true|True|false|False",
        .group = KUBERNETES,
        .help = "Where pods run: all in one namespace, in one for each user (made when missing, "
                "kept), or in one for each kernel (deleted with it). JEG's true is fixed, its "
                "false kernel."),
    ROW("kubernetes-namespace", "ELARA_KUBERNETES_NAMESPACE", OPTION_TEXT, kubernetes.namespace,
        NULL, .group = KUBERNETES,
        .help = "The namespace of all pods with kubernetes-namespaces: fixed. Default: that of the "
                "records."),
    ROW("kubernetes-namespace-prefix", "ELARA_KUBERNETES_NAMESPACE_PREFIX", OPTION_TEXT,
        kubernetes.namespace_prefix, "elara-", .check = settings_check_prefix, .group = KUBERNETES,
        .help = "What users' namespaces begin with."),
    ROW("kubernetes-namespace-labels", "ELARA_KUBERNETES_NAMESPACE_LABELS", OPTION_MAPPING,
        kubernetes.namespace_labels, NULL, .check = settings_check_labels, .group = KUBERNETES,
        .help = "Labels of namespaces that the gateway makes, such as "
                "{\"pod-security.kubernetes.io/enforce\": \"restricted\"}."),
    ROW("kubernetes-network-policy", "ELARA_KUBERNETES_NETWORK_POLICY", OPTION_MAPPING,
        kubernetes.network_policy, NULL, .group = KUBERNETES,
        .help = "spec of the NetworkPolicy in namespaces that the gateway makes. Default: none."),
    ROW("kubernetes-cluster-role", "ELARA_KUBERNETES_CLUSTER_ROLE,EG_KERNEL_CLUSTER_ROLE",
        OPTION_TEXT, kubernetes.cluster_role, NULL, .group = KUBERNETES,
        .help = "ClusterRole that kernels have in namespaces the gateway makes. Default: none "
                "(JEG: cluster-admin)."),
    ROW("kubernetes-service-account",
        "ELARA_KUBERNETES_SERVICE_ACCOUNT,EG_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME", OPTION_TEXT,
        kubernetes.service_account, NULL, .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "Service account of kernels. Default: the namespace's."),
    ROW("kubernetes-launcher-image", "ELARA_KUBERNETES_LAUNCHER_IMAGE", OPTION_TEXT,
        kubernetes.launcher_image, NULL, .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "Elara's own image: it brings the launcher into every pod."),
    ROW("kubernetes-image", "ELARA_KUBERNETES_IMAGE,EG_KERNEL_IMAGE", OPTION_TEXT, kubernetes.image,
        NULL, .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "Image of kernels whose kernelspec names none."),
    ROW("kubernetes-pod", "ELARA_KUBERNETES_POD", OPTION_MAPPING, kubernetes.pod, NULL,
        .check = settings_check_pod, .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "PodTemplateSpec of kernels whose kernelspec has no pod.yaml: resources, "
                "nodeSelector, tolerations, volumes, ... (docs/kernelspecs.md)."),
    ROW("kubernetes-gpu-resource", "ELARA_KUBERNETES_GPU_RESOURCE", OPTION_TEXT,
        kubernetes.gpu_resource, "nvidia.com/gpu", .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "What KERNEL_GPUS counts."),
    ROW("kubernetes-uid", "ELARA_KUBERNETES_UID", OPTION_INT, kubernetes.uid, "-1", .min = -1,
        .max = 4294967294, .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "User id of kernels that say none; -1: the image's (JEG: 1000)."),
    ROW("kubernetes-gid", "ELARA_KUBERNETES_GID", OPTION_INT, kubernetes.gid, "-1", .min = -1,
        .max = 4294967294, .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "Group id of kernels that say none; -1: the image's (JEG: 100)."),
    ROW("mirror-working-dirs", "ELARA_MIRROR_WORKING_DIRS,EG_MIRROR_WORKING_DIRS", OPTION_BOOL,
        kubernetes.mirror_working_dirs, "false", .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "Start a kernel's container in KERNEL_WORKING_DIR, which has to be there."),
    ROW("kubernetes-allow", "ELARA_KUBERNETES_ALLOW", OPTION_LIST, kubernetes.allow, NULL,
        .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "Further KERNEL_* variables by which a client may shape its pod, such as "
                "KERNEL_IMAGE, or KERNEL_PATH where a kernelspec mounts what it says; * for all. "
                "Clients are trusted with all that they reach so; a policy sets bounds."),
    ROW("prohibited-uids", "ELARA_PROHIBITED_UIDS,EG_PROHIBITED_UIDS", OPTION_LIST,
        kubernetes.prohibited_uids, "0", .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "What no client may say to be its KERNEL_UID, nor be the uid of an account that "
                "run-as-owner takes; 0 never is."),
    ROW("prohibited-gids", "ELARA_PROHIBITED_GIDS,EG_PROHIBITED_GIDS", OPTION_LIST,
        kubernetes.prohibited_gids, "0", .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "The same for KERNEL_GID."),
    ROW("start-deadline", "ELARA_START_DEADLINE", OPTION_DURATION, kubernetes.start_deadline_ms,
        "30m", .max = DAY_MS, .flags = OPTION_RELOAD, .group = KUBERNETES,
        .help = "How long a pod may take until it runs, image pull and waiting for a node "
                "included; 0: for ever. What clients wish for (KERNEL_LAUNCH_TIMEOUT) does not "
                "shorten it."),
    ROW("kubernetes-sweep-grace", "ELARA_KUBERNETES_SWEEP_GRACE", OPTION_DURATION,
        kubernetes.sweep_grace_ms, "1m", .min = 1000, .max = DAY_MS, .flags = OPTION_RELOAD,
        .group = KUBERNETES,
        .help = "How long what a gateway left half done (a start without a pod, a pod without a "
                "record) is left alone before another gateway finishes or deletes it."),

    ROW("home-server", "ELARA_HOME_SERVER", OPTION_TEXT, home.server, NULL, .flags = OPTION_RELOAD,
        .group = HOMES,
        .help = "NFS server (version 4, port 2049) of users' home directories, which pods then get "
                "(docs/homes.md). Default: none."),
    ROW("home-export", "ELARA_HOME_EXPORT", OPTION_TEXT, home.export_path, "/",
        .check = settings_check_home_place, .flags = OPTION_RELOAD, .group = HOMES,
        .help = "What the server exports, such as /export/home; the other paths are below it."),
    ROW("home-path", "ELARA_HOME_PATH", OPTION_TEXT, home.path, "{user}",
        .check = settings_check_home_path, .flags = OPTION_RELOAD, .group = HOMES,
        .help = "A user's directory below home-export. Its last part has {user} and is made; those "
                "before it have to be there."),
    ROW("home-mount", "ELARA_HOME_MOUNT", OPTION_TEXT, home.mount, "/home/jovyan",
        .check = settings_check_home_place, .flags = OPTION_RELOAD, .group = HOMES,
        .help = "Where kernels see it; HOME, and where they start unless KERNEL_WORKING_DIR lies "
                "below it."),
    ROW("home-pvc", "ELARA_HOME_PVC", OPTION_TEXT, home.pvc, NULL, .flags = OPTION_RELOAD,
        .group = HOMES,
        .help = "A claim in the kernels' namespace whose root is home-export: pods mount its "
                "subPath instead of an nfs volume. Mount options stand in its PersistentVolume."),
    ROW("home-volume", "ELARA_HOME_VOLUME", OPTION_ENUM, home.volume, "nfs", .choices = "nfs|claim",
        .flags = OPTION_RELOAD, .group = HOMES,
        .help = "How homes come into pods. claim: by a PersistentVolume and a claim that the "
                "gateway makes in each namespace of its own; what home-options and the Pod "
                "Security Standard restricted need."),
    ROW("home-options", "ELARA_HOME_OPTIONS", OPTION_LIST, home.options, NULL,
        .flags = OPTION_RELOAD, .group = HOMES,
        .help = "Mount options of those volumes, such as nfsvers=4.2,hard."),
    ROW("home-directory", "ELARA_HOME_DIRECTORY", OPTION_TEXT, home.directory, NULL,
        .check = settings_check_home_place, .flags = OPTION_RELOAD, .group = HOMES,
        .help = "For local kernels: the directory of this machine where the homes are, such as "
                "where home-export is mounted. Default: none."),
    ROW("home-user-names", "ELARA_HOME_USER_NAMES", OPTION_ENUM, home.user_names, "hub",
        .choices = "hub|safe-slug|raw", .flags = OPTION_RELOAD, .group = HOMES,
        .help = "How {user} is written: hub and safe-slug are KubeSpawner's slug_scheme escape and "
                "safe; raw: as it is, and names with / or a dot in front are refused."),
    ROW("home-uids", "ELARA_HOME_UIDS", OPTION_MAPPING, home.uids, NULL, .flags = OPTION_RELOAD,
        .group = HOMES,
        .help =
            "Owners of homes by user, whom their pods then run as, such as {\"alice\": "
            "\"1001:100\"}. Users who are neither in it nor in home-passwd have the pod's own."),
    ROW("home-passwd", "ELARA_HOME_PASSWD", OPTION_TEXT, home.passwd, NULL,
        .check = settings_check_home_passwd, .flags = OPTION_RELOAD, .group = HOMES,
        .help = "File with the ids of users who are not in home-uids, as passwd(5) has them "
                "(getent passwd writes them); read again when it changes."),
    ROW("home-parent-gid", "ELARA_HOME_PARENT_GID", OPTION_INT, home.parent_gid, "-1", .min = -1,
        .max = 4294967294, .flags = OPTION_RELOAD, .group = HOMES,
        .help = "Group that may write where homes are made, which is then done as the user; what "
                "root_squash needs. -1: as root."),
    ROW("home-extra", "ELARA_HOME_EXTRA", OPTION_LIST, home.extra, NULL, .flags = OPTION_RELOAD,
        .group = HOMES,
        .help = "Further directories below home-export for all pods with a home: PATH:MOUNT, "
                "read-only, or PATH:MOUNT:rw."),
    ROW("home-trust-claimed-names", "ELARA_HOME_TRUST_CLAIMED_NAMES", OPTION_BOOL,
        home.trust_claimed_names, "false", .flags = OPTION_RELOAD, .group = HOMES,
        .help = "Give whoever has the shared token the home of any KERNEL_USERNAME that it claims. "
                "Otherwise such kernels all have the home of the gateway's own user. With a policy "
                "its users.trust_claimed_names says it."),
    ROW("home-deadline", "ELARA_HOME_DEADLINE", OPTION_DURATION, home.deadline_ms, "10s",
        .min = 100, .max = 10 * MINUTE_MS, .flags = OPTION_RELOAD, .group = HOMES,
        .help = "How long a home may take to be made ready; a server that cannot be reached is "
                "tried until then."),

    ROW("cull-idle-timeout", "ELARA_CULL_IDLE_TIMEOUT,EG_CULL_IDLE_TIMEOUT", OPTION_DURATION,
        cull.idle_ms, "12h", .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "End a kernel that nobody is connected to when it was idle for longer "
                "(docs/culling.md); 0: never. The default is that of JEG's image; its chart sets "
                "3600."),
    ROW("cull-interval", "ELARA_CULL_INTERVAL,EG_CULL_INTERVAL", OPTION_DURATION, cull.interval_ms,
        "60s", .max = DAY_MS, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "How often kernels are looked at; 0: 300 s, as in JEG."),
    ROW("cull-connected", "ELARA_CULL_CONNECTED,EG_CULL_CONNECTED", OPTION_BOOL, cull.connected,
        "false", .flags = OPTION_RELOAD, .group = CULLING,
        .help = "Let cull-idle-timeout hold for kernels with clients, too."),
    ROW("cull-idle-connected-timeout", "ELARA_CULL_IDLE_CONNECTED_TIMEOUT", OPTION_DURATION,
        cull.idle_connected_ms, "0", .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "End a kernel with clients, such as a tab that was left open, when it was idle for "
                "longer (and for cull-idle-timeout at least: never where that is 0); 0: as "
                "cull-connected says."),
    ROW("cull-stalled-timeout", "ELARA_CULL_STALLED_TIMEOUT", OPTION_DURATION, cull.stalled_ms, "0",
        .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "End a kernel whose cell runs for longer without output and without using the CPU; "
                "0: never."),
    ROW("cull-detached-timeout", "ELARA_CULL_DETACHED_TIMEOUT", OPTION_DURATION, cull.detached_ms,
        "0", .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "End a kernel whose notebook server is gone for longer while nothing runs, also "
                "one that asks nobody for input; 0: never."),
    ROW("cull-unattached-timeout", "ELARA_CULL_UNATTACHED_TIMEOUT", OPTION_DURATION,
        cull.unattached_ms, "1h", .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "End a kernel to which nobody has ever connected, such as one whose client gave up "
                "while it started, when it was idle for longer; 0: never."),
    ROW("cull-max-age", "ELARA_CULL_MAX_AGE", OPTION_DURATION, cull.age_ms, "0",
        .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "End a kernel of that age, whatever it does; 0: never."),
    ROW("cull-warn-before", "ELARA_CULL_WARN_BEFORE", OPTION_DURATION, cull.warn_ms, "5m",
        .max = 30 * DAY_MS, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "Say so in the notebook that long before, at most half of the shortest limit; 0: "
                "not at all."),
    ROW("cull-max-own-timeout", "ELARA_CULL_MAX_OWN_TIMEOUT", OPTION_DURATION, cull.own_max_ms,
        "7d", .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "The most that a kernel may ask for itself (KERNEL_CULL_IDLE_TIMEOUT, a "
                "kernelspec's metadata.cull_idle_timeout) and a user for his own kernels (elara "
                "keep); 0: no limit."),
    ROW("cull-overrides", "ELARA_CULL_OVERRIDES", OPTION_MAPPING, cull.overrides, NULL,
        .check = culling_check_overrides, .flags = OPTION_RELOAD, .group = CULLING,
        .help = "Other limits for some: {owners: {ann: {idle_timeout: 2d}}, specs: {\"gpu-*\": "
                "{idle_timeout: 30m}}} (docs/culling.md)."),
    ROW("cull-notice", "ELARA_CULL_NOTICE", OPTION_BOOL, cull.notice, "true",
        .flags = OPTION_RELOAD, .group = CULLING,
        .help = "Let the next kernel of the same owner, kernelspec and working directory open its "
                "first cell's output with a line that says why the earlier one was ended."),

    ROW("max-kernels", "ELARA_MAX_KERNELS,EG_MAX_KERNELS,KG_MAX_KERNELS", OPTION_INT, max_kernels,
        "-1", .min = -1, .max = 1000000, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "Kernels in all; -1: no limit."),
    ROW("max-kernels-per-user", "ELARA_MAX_KERNELS_PER_USER,EG_MAX_KERNELS_PER_USER", OPTION_INT,
        max_kernels_per_user, "-1", .min = -1, .max = 1000000, .flags = OPTION_RELOAD,
        .group = LIMITS, .help = "Kernels of one user; -1: no limit."),
    ROW("max-kernels-per-spec", "ELARA_MAX_KERNELS_PER_SPEC", OPTION_INT, max_kernels_per_spec,
        "-1", .min = -1, .max = 1000000, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "Kernels of one kernelspec; -1: no limit."),
    ROW("max-failed-kernels", "ELARA_MAX_FAILED_KERNELS", OPTION_INT, max_failed_kernels, "100",
        .min = 0, .max = 100000, .flags = OPTION_RELOAD, .group = LIMITS,
        .help =
            "Dead kernels kept so that the notebook shows why. At the limit the user who has the "
            "most of them loses the oldest; a refusal of theirs is an HTTP error."),
    ROW("failed-retention", "ELARA_FAILED_RETENTION", OPTION_DURATION, failed_retention_ms, "1d",
        .min = 0, .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "How long a dead kernel keeps its reason and its last output."),
    ROW("tombstone-retention", "ELARA_TOMBSTONE_RETENTION", OPTION_DURATION, tombstone_retention_ms,
        "1d", .min = 0, .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "How long the answer 404 for an ended kernel says why it ended."),
    ROW("session-retention", "ELARA_SESSION_RETENTION", OPTION_DURATION, session_retention_ms, "7d",
        .min = MINUTE_MS, .max = 365 * DAY_MS, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "How long a kernel remembers what a client that went away has seen."),
    ROW("refusal-style", "ELARA_REFUSAL_STYLE", OPTION_ENUM, refusal_style, "auto",
        .choices = "auto|http|notebook", .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "How limits and refusals are told: as an HTTP error, or by a dead kernel that "
                "explains itself in the "
                "notebook. auto: notebook for a notebook server, http for others."),
    ROW("max-starts-per-user", "ELARA_MAX_STARTS_PER_USER", OPTION_INT, max_starts_per_user, "64",
        .min = 0, .max = 1000000, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "Kernels of one user (known by name) that may be starting at once; 0: no limit."),
    ROW("max-sessions-per-user", "ELARA_MAX_SESSIONS_PER_USER", OPTION_INT, max_sessions_per_user,
        "1000", .min = 0, .max = 20000, .flags = OPTION_RELOAD, .group = LIMITS,
        .help =
            "Sessions (/api/sessions) of one user known by name; 0: no limit but that of 20,000 "
            "in all."),
    ROW("max-connections", "ELARA_MAX_CONNECTIONS", OPTION_INT, max_connections, "32768", .min = 0,
        .max = 10000000, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "Connections of clients, WebSockets included; 0: as many as the limit of open "
                "files allows, which never gives them the last eighth (32 to 1,024)."),
    ROW("max-connections-per-address", "ELARA_MAX_CONNECTIONS_PER_ADDRESS", OPTION_INT,
        max_connections_per_address, "4096", .min = 0, .max = 10000000, .flags = OPTION_RELOAD,
        .group = LIMITS,
        .help =
            "Connections from one address (of IPv6: from one network of 64 bits), but for those "
            "of users known by name; 0: no limit."),
    ROW("max-connections-per-user", "ELARA_MAX_CONNECTIONS_PER_USER", OPTION_INT,
        max_connections_per_user, "2048", .min = 0, .max = 10000000, .flags = OPTION_RELOAD,
        .group = LIMITS,
        .help = "Connections of one user known by name, WebSockets included; 0: no limit."),
    ROW("max-requests", "ELARA_MAX_REQUESTS", OPTION_INT, max_requests, "8192", .min = 0,
        .max = 10000000, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "HTTP requests that are under way at once; 0: no limit."),
    ROW("max-requests-per-user", "ELARA_MAX_REQUESTS_PER_USER", OPTION_INT, max_requests_per_user,
        "512", .min = 0, .max = 10000000, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "The same of one user known by name; 0: no limit."),
    ROW("max-input-bytes", "ELARA_MAX_INPUT_BYTES", OPTION_BYTES, max_input_bytes, "256M", .min = 0,
        .max = MIB(65536), .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "What unfinished messages and requests of clients may hold of the memory; clients "
                "that are not known yet have half of it. 0: no limit."),
    ROW("max-input-bytes-per-user", "ELARA_MAX_INPUT_BYTES_PER_USER", OPTION_BYTES,
        max_input_bytes_per_user, "128M", .min = 0, .max = MIB(65536), .flags = OPTION_RELOAD,
        .group = LIMITS, .help = "The same of one user known by name; 0: no limit."),
    ROW("body-limit", "ELARA_BODY_LIMIT", OPTION_BYTES, body_limit, "4M", .min = KIB(16),
        .max = MIB(1024), .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "Largest body of a request."),
    ROW("header-limit", "ELARA_HEADER_LIMIT", OPTION_BYTES, header_limit, "64k", .min = KIB(4),
        .max = MIB(1), .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "Largest request line and headers together."),
    ROW("message-limit", "ELARA_MESSAGE_LIMIT", OPTION_BYTES, message_limit, "64M", .min = KIB(64),
        .max = MIB(1024), .flags = OPTION_RELOAD, .group = LIMITS,
        .help =
            "Largest message from a WebSocket client; a larger one closes its socket with 1009."),
    ROW("header-timeout", "ELARA_HEADER_TIMEOUT", OPTION_DURATION, header_timeout_ms, "10s",
        .min = 100, .max = 60 * MINUTE_MS, .flags = OPTION_RELOAD, .group = LIMITS,
        .help =
            "How long a client may take to send its request's headers, and another server to say "
            "who it is."),
    ROW("body-timeout", "ELARA_BODY_TIMEOUT", OPTION_DURATION, body_timeout_ms, "60s", .min = 100,
        .max = 60 * MINUTE_MS, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "How long a client may take to send its request's body."),
    ROW("idle-timeout", "ELARA_IDLE_TIMEOUT", OPTION_DURATION, idle_timeout_ms, "75s", .min = 100,
        .max = DAY_MS, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "How long a connection without a request stays open."),
    ROW("client-window", "ELARA_CLIENT_WINDOW", OPTION_BYTES, client_window, "4M", .min = KIB(64),
        .max = MIB(256), .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "Bytes under way to one client; what is beyond waits in its kernel's journal."),
    ROW("gateway-client-frame-limit", "ELARA_GATEWAY_CLIENT_FRAME_LIMIT", OPTION_BYTES,
        gateway_client_frame_limit, "10M", .min = MIB(1), .max = MIB(1024), .flags = OPTION_RELOAD,
        .group = LIMITS,
        .help = "Largest frame to a notebook server, which drops its connection above 10 MiB."),
    ROW("journal-size", "ELARA_JOURNAL_SIZE", OPTION_BYTES, journal_size, "256M", .min = MIB(1),
        .max = MIB(65536), .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "What a kernel's journal keeps of its messages; at the cap the oldest streams are "
                "folded first, answers last. A kernelspec may say otherwise."),
    ROW("replay-unsure", "ELARA_REPLAY_UNSURE", OPTION_DURATION, replay_unsure_ms, "90s", .min = 0,
        .max = DAY_MS, .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "How long a notebook server may go on reading for a browser that is gone: cells "
                "with output in that time are shown anew when it comes back."),
    ROW("kernel-log-size", "ELARA_KERNEL_LOG_SIZE", OPTION_BYTES, kernel_log_size, "1M",
        .min = KIB(4), .max = MIB(1024), .flags = OPTION_RELOAD, .group = LIMITS,
        .help = "What is kept of a kernel's own stdout and stderr."),

    ROW("log-level", "ELARA_LOG_LEVEL,EG_LOG_LEVEL", OPTION_TEXT, log_level, "INFO",
        .check = settings_check_log_level, .flags = OPTION_RELOAD, .group = PROCESS,
        .help = "DEBUG, INFO, WARNING or ERROR (or 10, 20, 30, 40)."),
    ROW("log-format", "ELARA_LOG_FORMAT", OPTION_ENUM, log_format, "text", .choices = "text|json",
        .flags = OPTION_RELOAD, .group = PROCESS,
        .help = "One line an event, as text or as a JSON object (docs/monitoring.md). Kernels that "
                "are started later get it for their launcher's log."),
    ROW("confine", "ELARA_CONFINE", OPTION_BOOL, confine, "true", .group = PROCESS,
        .help = "The gateway may write in runtime-dir and beside event-log only, and run nothing, "
                "where Linux has Landlock. Kernels are not concerned."),
    ROW("event-log", "ELARA_EVENT_LOG", OPTION_TEXT, event_log, NULL, .group = PROCESS,
        .help = "File that what happens to kernels is appended to, as JSON lines "
                "(docs/monitoring.md). SIGHUP opens it again, for logrotate. Default: none."),
    ROW("metrics-public", "ELARA_METRICS_PUBLIC", OPTION_BOOL, metrics_public, "false",
        .group = PROCESS,
        .help = "Answer GET /metrics without a token. Else it needs one of the role metrics, "
                "viewer or admin."),
    {0},
};

const struct option_row *settings_table(void) {
    return table;
}
