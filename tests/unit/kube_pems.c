#include "kube_pems.h"

#include "base/memory.h"

#include <assert.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

static char *text_of(BIO *out) {
    char *data;
    long length = BIO_get_mem_data(out, &data);
    char *text = memory_strndup(data, (size_t)length);
    BIO_free(out);
    return text;
}

static void extend(X509 *certificate, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert(extension != NULL);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

static void set_name(X509_NAME *name, const char *text) {
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1, -1, 0);
}

struct kube_pems kube_pems_make(const char *names, const struct kube_pems *authority,
                                long lifetime_s) {
    static long serial = 1;
    struct kube_pems made = {EVP_EC_gen("P-256"), X509_new(), NULL, NULL};
    X509 *certificate = made.certificate;
    X509 *issuer = authority != NULL ? authority->certificate : certificate;
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -7200);
    X509_gmtime_adj(X509_getm_notAfter(certificate), lifetime_s);
    X509_set_pubkey(certificate, made.key);
    char subject[64];
    snprintf(subject, sizeof subject, "%s %ld", names != NULL ? "server" : "authority", serial);
    set_name(X509_get_subject_name(certificate), subject);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    if (names != NULL)
        extend(certificate, issuer, NID_subject_alt_name, names);
    else
        extend(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE");
    X509_sign(certificate, authority != NULL ? authority->key : made.key, EVP_sha256());
    BIO *out = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(out, certificate);
    made.certificate_pem = text_of(out);
    out = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(out, made.key, NULL, NULL, 0, NULL, NULL);
    made.key_pem = text_of(out);
    return made;
}

void kube_pems_free(struct kube_pems *pems) {
    EVP_PKEY_free(pems->key);
    X509_free(pems->certificate);
    free(pems->key_pem);
    free(pems->certificate_pem);
}
