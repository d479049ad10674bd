/* What kube_config.c and kube_config_file.c share. */
#pragma once

#include "launcher/kube_config.h"

#include <jansson.h>
#include <stdint.h>
#include <sys/stat.h>

struct kube_source {
    char *field; /* for messages: "user \"ann\" of /home/ann/.kube/config: tokenFile" */
    char *path;  /* NULL: it lies in no file of its own */
    struct stat seen;
};

struct kube_config {
    char *server, *namespace, *origin, *tls_name, *proxy;
    bool insecure;
    int64_t looked_ms;
    struct kube_source sources[KUBE_SECRETS];
    struct kube_secret secrets[KUBE_SECRETS];
};

struct kube_config *kube_config_new(void);

/* Checks it and takes it over as "https://host:port/prefix"; field is for messages. */
int kube_config_set_server(struct kube_config *config, const char *field, const char *url,
                           struct error *err);
/* Reads the sources' files and checks that everything fits together. */
int kube_config_complete(struct kube_config *config, struct error *err);

void kube_secret_wipe(struct kube_secret *secret);
void kube_secret_set(struct kube_secret *secret, const void *data, size_t length);

/* kube_pem.c: errors without the field's name, and never with what the PEM holds. */
int kube_pem_check_authority(const struct kube_secret *authority, struct error *err);
/* The certificate parses, the key does, and they are a pair. */
int kube_pem_check_pair(const struct kube_secret *certificate, const struct kube_secret *key,
                        struct error *err);
