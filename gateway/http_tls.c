#include "gateway/http_internal.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

static int fail(struct error *err, const char *what, const char *path) {
    char text[256];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof text);
    ERR_clear_error();
    return error_set(err, ERROR_INVALID, "%s: \"%s\": %s", what, path, text);
}

/* h2 is not spoken here: a client that offers it must hear so. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                           const unsigned char *in, unsigned in_length, void *context) {
    (void)ssl, (void)context;
    static const unsigned char ours[] = "\x08http/1.1";
    for (unsigned at = 0; at < in_length; at += 1u + in[at]) {
        if (in_length - at > 8 && memcmp(in + at, ours, 9) == 0) {
            *out = in + at + 1;
            *out_length = 8;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static int load_client_ca(SSL_CTX *tls, const struct http_settings *settings, struct error *err) {
    const char *path = settings->tls_client_ca;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (names == NULL || SSL_CTX_load_verify_locations(tls, path, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return fail(err, "client_ca", path);
    }
    SSL_CTX_set_client_CA_list(tls, names);
    SSL_CTX_set_verify(tls,
                       SSL_VERIFY_PEER |
                           (settings->tls_client_ca_optional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT),
                       NULL);
    return 0;
}

static int load_files(SSL_CTX *tls, const struct http_settings *settings, struct error *err) {
    const char *key = settings->tls_key ? settings->tls_key : settings->tls_certificate;
    if (SSL_CTX_use_certificate_chain_file(tls, settings->tls_certificate) != 1)
        return fail(err, "certfile", settings->tls_certificate);
    if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
        return fail(err, "keyfile", key);
    if (SSL_CTX_check_private_key(tls) != 1)
        return fail(err, "keyfile does not belong to certfile", key);
    return settings->tls_client_ca ? load_client_ca(tls, settings, err) : 0;
}

/* Groups and the suites of TLS 1.3 are OpenSSL's own, which get better with it. Of TLS 1.2 what has
 * forward secrecy and an AEAD. No session is taken up again: the key of a ticket would open what
 * was recorded, and each handshake looks at the client's certificate. */
static int restrict_protocol(SSL_CTX *tls) {
    SSL_CTX_set_options(tls, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) == 1 &&
                   SSL_CTX_set_cipher_list(tls, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
                   SSL_CTX_set_num_tickets(tls, 0) == 1
               ? 0
               : -1;
}

int http_tls_create(const struct http_settings *settings, SSL_CTX **ret, struct error *err) {
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL || restrict_protocol(tls) < 0) {
        SSL_CTX_free(tls);
        return fail(err, "TLS", settings->tls_certificate);
    }
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS); /* 34 KiB an idle connection */
    SSL_CTX_set_alpn_select_cb(tls, choose_protocol, NULL);
    if (load_files(tls, settings, err) < 0) {
        SSL_CTX_free(tls);
        return -1;
    }
    *ret = tls;
    return 0;
}

const X509 *http_tls_certificate(struct bufferevent *io) {
    SSL *ssl = bufferevent_openssl_get_ssl(io);
    return ssl != NULL && SSL_get_verify_result(ssl) == X509_V_OK ? SSL_get0_peer_certificate(ssl)
                                                                  : NULL;
}

void http_tls_destroy(SSL_CTX *tls) {
    SSL_CTX_free(tls);
}

struct bufferevent *http_tls_accept(struct http *http, evutil_socket_t fd) {
    SSL *ssl = SSL_new(http->tls);
    if (ssl == NULL)
        return NULL;
    struct bufferevent *io = bufferevent_openssl_socket_new(
        loop_base(http->loop), fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (io == NULL)
        SSL_free(ssl);
    else
        bufferevent_openssl_set_allow_dirty_shutdown(io, 1); /* many clients just close */
    return io;
}
