/* Certificates and keys are checked when they are read: curl only says "problem with the local
 * certificate", at the first call. */
#include "launcher/kube_config_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static BIO *open_text(const struct kube_secret *secret) {
    return BIO_new_mem_buf(secret->data, (int)secret->length); /* limited where it was read */
}

static X509 *read_certificate(const struct kube_secret *secret) {
    BIO *text = open_text(secret);
    X509 *certificate = PEM_read_bio_X509(text, NULL, NULL, NULL);
    BIO_free(text);
    ERR_clear_error();
    return certificate;
}

/* A key with a passphrase must not ask for it on the terminal. */
static int refuse_passphrase(char *into, int size, int writing, void *context) {
    (void)into, (void)size, (void)writing, (void)context;
    return -1;
}

static EVP_PKEY *read_key(const struct kube_secret *secret) {
    BIO *text = open_text(secret);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, refuse_passphrase, NULL);
    BIO_free(text);
    ERR_clear_error();
    return key;
}

int kube_pem_check_authority(const struct kube_secret *authority, struct error *err) {
    X509 *certificate = read_certificate(authority);
    if (certificate == NULL)
        return error_set(err, ERROR_INVALID, "holds no certificate in PEM form");
    X509_free(certificate);
    return 0;
}

int kube_pem_check_pair(const struct kube_secret *certificate, const struct kube_secret *key,
                        struct error *err) {
    X509 *ours = read_certificate(certificate);
    if (ours == NULL)
        return error_set(err, ERROR_INVALID, "holds no certificate in PEM form");
    EVP_PKEY *pair = read_key(key);
    int result = 0;
    if (pair == NULL)
        result = error_set(err, ERROR_INVALID,
                           "its key is no private key in PEM form, or has a passphrase, which is "
                           "not supported");
    else if (X509_check_private_key(ours, pair) != 1)
        result = error_set(err, ERROR_INVALID, "its key belongs to another certificate");
    ERR_clear_error();
    EVP_PKEY_free(pair);
    X509_free(ours);
    return result;
}
