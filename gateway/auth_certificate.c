/* Mutual TLS: a client certificate that client-ca vouches for names its owner. */
#include "base/memory.h"
#include "gateway/auth_method.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

struct certificate {
    struct auth_method method;
    struct auth *auth;
    int subject_nid; /* NID_undef: an alternative name of this type: */
    int alternative;
};

/* malloc'ed, with its length checked: a NUL in it would cut it down to another's. */
static char *copy_text(const ASN1_STRING *from) {
    unsigned char *utf8 = NULL;
    int length = ASN1_STRING_to_UTF8(&utf8, from);
    char *text = length > 0 && strlen((const char *)utf8) == (size_t)length
                     ? memory_strdup((const char *)utf8)
                     : NULL;
    OPENSSL_free(utf8);
    return text;
}

/* NULL when there is none, or more than one: whose it is must not depend on an order. */
static char *read_subject(const X509 *certificate, int nid) {
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, nid, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, nid, at) >= 0)
        return NULL;
    return copy_text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

static char *read_alternative(const X509 *certificate, int type) {
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    char *found = NULL;
    int count = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != type || count++ > 0)
            continue;
        found = copy_text(name->d.ia5);
    }
    GENERAL_NAMES_free(names);
    if (count == 1)
        return found;
    free(found);
    return NULL;
}

static enum auth_found certificate_find(struct auth_method *self,
                                        const struct auth_evidence *evidence,
                                        const struct auth_presented *presented,
                                        struct auth_waiter *waiter,
                                        const struct auth_identity **ret, struct error *err) {
    (void)presented, (void)waiter;
    const struct certificate *method = (const struct certificate *)self;
    if (evidence->certificate == NULL)
        return AUTH_UNKNOWN;
    if (X509_cmp_current_time(X509_get0_notAfter(evidence->certificate)) <= 0) {
        /* since its connection began */
        error_set(err, ERROR_DENIED, "the client certificate has expired");
        return AUTH_UNKNOWN;
    }
    char *name = method->subject_nid != NID_undef
                     ? read_subject(evidence->certificate, method->subject_nid)
                     : read_alternative(evidence->certificate, method->alternative);
    *ret = name != NULL ? auth_identity_of(method->auth, name) : NULL;
    free(name);
    return *ret != NULL ? AUTH_FOUND : AUTH_UNKNOWN;
}

static void certificate_destroy(struct auth_method *self) {
    free(self);
}

static const struct auth_method_ops certificate_ops = {
    .name = "client certificates",
    .is_last_resort = true,
    .find = certificate_find,
    .destroy = certificate_destroy,
};

int auth_certificate_create(struct auth *auth, const struct auth_settings *settings,
                            struct auth_method **ret, struct error *err) {
    static const struct {
        const char *name;
        int nid, alternative;
    } kinds[] = {
        {"cn", NID_commonName, 0},
        {"email", NID_undef, GEN_EMAIL},
        {"dns", NID_undef, GEN_DNS},
        {"uri", NID_undef, GEN_URI},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, settings->certificate_user) != 0)
            continue;
        struct certificate *method = memory_alloc(sizeof *method);
        method->method.ops = &certificate_ops;
        method->auth = auth;
        method->subject_nid = kinds[i].nid;
        method->alternative = kinds[i].alternative;
        *ret = &method->method;
        return 0;
    }
    return error_set(err, ERROR_INVALID,
                     "client-certificate-user: must be none, cn, email, dns or uri");
}
