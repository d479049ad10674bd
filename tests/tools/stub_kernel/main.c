/* Options, sockets, the loop. */
#include "stub.h"

#include <malloc.h>

static void bind_socket(struct stub *stub, const json_t *info, int which, int type,
                        const char *port) {
    char address[256];
    const char *transport = json_string_value(json_object_get(info, "transport"));
    const char *ip = json_string_value(json_object_get(info, "ip"));
    bool is_ipc = transport != NULL && strcmp(transport, "ipc") == 0;
    snprintf(address, sizeof(address), "%s://%s%c%lld", is_ipc ? "ipc" : "tcp", ip,
             is_ipc ? '-' : ':', (long long)json_integer_value(json_object_get(info, port)));
    stub->sockets[which] = zmq_socket(stub->context, type);
    int hwm = which == IOPUB ? stub->options.iopub_hwm : 0, linger = 1000, yes = 1;
    zmq_setsockopt(stub->sockets[which], ZMQ_SNDHWM, &hwm, sizeof(hwm));
    zmq_setsockopt(stub->sockets[which], ZMQ_LINGER, &linger, sizeof(linger));
    if (type == ZMQ_XPUB)
        zmq_setsockopt(stub->sockets[which], ZMQ_XPUB_VERBOSE, &yes, sizeof(yes));
    if (zmq_bind(stub->sockets[which], address) != 0) {
        fprintf(stderr, "stub_kernel: cannot bind %s %s: %s\n", port, address, zmq_strerror(errno));
        exit(1);
    }
}

static void load_key(struct stub *stub, const json_t *info) {
    const char *key = json_string_value(json_object_get(info, "key"));
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (key == NULL || *key == '\0')
        return;
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    stub->mac = EVP_MAC_CTX_new(mac);
    if (EVP_MAC_init(stub->mac, (const unsigned char *)key, strlen(key), parameters) != 1)
        stub_fail("cannot use the key");
    EVP_MAC_free(mac);
}

static void watch_signals(struct stub *stub) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    if (stub->options.ignore_sigint)
        signal(SIGINT, SIG_IGN);
    if (stub->options.ignore_sigterm)
        signal(SIGTERM, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL); /* before ZeroMQ's threads are there */
    stub->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void start(struct stub *stub) {
    json_error_t error;
    cleanup_json json_t *info = json_load_file(stub->options.connection_file, 0, &error);
    if (info == NULL) {
        fprintf(stderr, "stub_kernel: %s: %s\n", stub->options.connection_file, error.text);
        exit(1);
    }
    uint64_t random[2];
    if (getentropy(random, sizeof(random)) != 0)
        stub_fail("no random numbers");
    snprintf(stub->session, sizeof(stub->session), "%016llx%016llx", (unsigned long long)random[0],
             (unsigned long long)random[1]);
    watch_signals(stub);
    load_key(stub, info);
    stub->context = zmq_ctx_new();
    bind_socket(stub, info, HEARTBEAT, ZMQ_REP, "hb_port");
    bind_socket(stub, info, IOPUB, stub->options.xpub ? ZMQ_XPUB : ZMQ_PUB, "iopub_port");
    bind_socket(stub, info, STDIN, ZMQ_ROUTER, "stdin_port");
    bind_socket(stub, info, CONTROL, ZMQ_ROUTER, "control_port");
    bind_socket(stub, info, SHELL, ZMQ_ROUTER, "shell_port");
    stub_send_status(stub, NULL, "starting");
}

__attribute__((noreturn)) static void serve(struct stub *stub) {
    for (;;) {
        zmq_pollitem_t items[] = {
            {.socket = stub->sockets[SHELL], .events = ZMQ_POLLIN},
            {.socket = stub->sockets[CONTROL], .events = ZMQ_POLLIN},
            {.socket = stub->sockets[HEARTBEAT], .events = ZMQ_POLLIN},
            {.socket = stub->sockets[IOPUB], .events = stub->options.xpub ? ZMQ_POLLIN : 0},
            {.fd = stub->signals, .events = ZMQ_POLLIN},
        };
        zmq_poll(items, 5, -1);
        stub_serve_signals(stub);
        stub_serve_heartbeat(stub);
        stub_serve_subscriptions(stub);
        while (stub_serve_channel(stub, CONTROL))
            ;
        stub_serve_channel(stub, SHELL);
    }
}

static const char *option_value(int argc, char **argv, int *at) {
    if (*at + 1 >= argc) {
        fprintf(stderr, "stub_kernel: %s needs a value\n", argv[*at]);
        exit(2);
    }
    return argv[++*at];
}

static void read_options(struct stub *stub, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "-f") == 0)
            stub->options.connection_file = option_value(argc, argv, &i);
        else if (strcmp(name, "--crash-at-start") == 0)
            stub->options.crash_text = option_value(argc, argv, &i);
        else if (strcmp(name, "--start-delay") == 0)
            stub->options.start_delay_ms = strtol(option_value(argc, argv, &i), NULL, 10);
        else if (strcmp(name, "--start-when") == 0)
            stub->options.start_file = option_value(argc, argv, &i);
        else if (strcmp(name, "--iopub-hwm") == 0)
            stub->options.iopub_hwm = (int)strtol(option_value(argc, argv, &i), NULL, 10);
        else if (strcmp(name, "--no-reply") == 0)
            stub->options.no_reply = true;
        else if (strcmp(name, "--xpub") == 0)
            stub->options.xpub = true;
        else if (strcmp(name, "--ignore-sigint") == 0)
            stub->options.ignore_sigint = true;
        else if (strcmp(name, "--ignore-sigterm") == 0)
            stub->options.ignore_sigterm = true;
        else if (strcmp(name, "--ignore-shutdown") == 0)
            stub->options.ignore_shutdown = true;
        else {
            fprintf(stderr, "stub_kernel: unknown option %s\n", name);
            exit(2);
        }
    }
}

int main(int argc, char **argv) {
    struct stub stub = {.options.iopub_hwm =
                            4000000}; /* a flood must not be dropped by ourselves */
#ifdef __GLIBC__
    /* A flood of large outputs measures others, not how memory is given back and taken again for
     * each. */
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
    read_options(&stub, argc, argv);
    if (stub.options.crash_text != NULL) {
        fprintf(stderr, "%s\n", stub.options.crash_text);
        return 3;
    }
    if (stub.options.connection_file == NULL) {
        fprintf(stderr, "stub_kernel: -f CONNECTION_FILE is missing\n");
        return 2;
    }
    usleep((useconds_t)stub.options.start_delay_ms * 1000);
    while (stub.options.start_file != NULL && access(stub.options.start_file, F_OK) < 0)
        usleep(5000);
    start(&stub);
    serve(&stub);
}
