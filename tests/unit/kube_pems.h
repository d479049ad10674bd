/* Certificates made for a test, as PEM texts. */
#pragma once

#include <openssl/x509.h>

struct kube_pems {
    EVP_PKEY *key;
    X509 *certificate;
    char *key_pem, *certificate_pem;
};

/* names: a subjectAltName ("IP:127.0.0.1,DNS:api.test"), NULL for an authority. authority: NULL
 * signs itself. lifetime_s: negative is expired. */
struct kube_pems kube_pems_make(const char *names, const struct kube_pems *authority,
                                long lifetime_s);
void kube_pems_free(struct kube_pems *pems);
