/* Messages in and out: frames, signatures. */
#include "stub.h"

void stub_fail(const char *what) {
    fprintf(stderr, "stub_kernel: %s: %s\n", what, strerror(errno));
    exit(4);
}

static void sign(struct stub *stub, const struct part *parts, size_t count, char hex[HEX_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[32];
    size_t length = 0;
    hex[0] = '\0';
    if (stub->mac == NULL)
        return;
    EVP_MAC_init(stub->mac, NULL, 0, NULL); /* the key stays */
    for (size_t i = 0; i < count; i++)
        EVP_MAC_update(stub->mac, parts[i].data, parts[i].length);
    EVP_MAC_final(stub->mac, digest, &length, sizeof(digest));
    for (size_t i = 0; i < length; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * length] = '\0';
}

void stub_send_part(void *socket, const void *data, size_t length, bool more) {
    while (zmq_send(socket, data, length, more ? ZMQ_SNDMORE : 0) < 0)
        if (errno != EINTR)
            return; /* ROUTER: the client has gone */
}

static char *put(char *at, const char *text) {
    return stpcpy(at, text);
}

static char *put_digits(char *at, uint64_t number, int width) {
    for (int i = width; i-- > 0; number /= 10)
        at[i] = (char)('0' + number % 10);
    return at + width;
}

/* By hand: printf and strftime would be half of what a message costs. text holds 512 bytes. */
static size_t write_header(struct stub *stub, const char *type, char *text) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != stub->second) {
        struct tm tm;
        stub->second = now.tv_sec;
        gmtime_r(&now.tv_sec, &tm);
        strftime(stub->second_text, sizeof(stub->second_text), "%Y-%m-%dT%H:%M:%S.", &tm);
    }
    char *at = put(put(put(text, "{\"msg_id\":\""), stub->session), "_");
    at = put_digits(at, ++stub->message_count, 12);
    at = put(put(put(at, "\",\"msg_type\":\""), type), "\",\"username\":\"stub\",\"session\":\"");
    at = put(put(put(at, stub->session), "\",\"date\":\""), stub->second_text);
    at = put_digits(at, (uint64_t)now.tv_nsec / 1000, 6);
    return (size_t)(put(at, "Z\",\"version\":\"5.3\"}") - text);
}

/* parent NULL: nobody asked. IOPub messages carry a topic, replies the identities of the asker. */
void stub_send(struct stub *stub, int channel, const struct request *parent, const char *type,
               struct part content, const struct part *buffers, size_t buffer_count) {
    void *socket = stub->sockets[channel];
    if (channel == IOPUB && stub->mute_requests > 0)
        return;
    char header[512], hex[HEX_SIZE];
    size_t header_length = write_header(stub, type, header);
    const struct part parts[4] = {
        {header, header_length},
        {parent != NULL ? parent->header : "{}", parent != NULL ? parent->header_length : 2},
        {"{}", 2},
        content,
    };
    sign(stub, parts, 4, hex);
    if (channel == IOPUB && strcmp(type, "iopub_welcome") != 0)
        stub_send_part(socket, type, strlen(type), true);
    for (size_t i = 0; channel != IOPUB && parent != NULL && i < parent->ident_count; i++)
        stub_send_part(socket, parent->ident[i], parent->ident_length[i], true);
    stub_send_part(socket, DELIMITER, sizeof(DELIMITER) - 1, true);
    const char *signature = stub->broken_signature != NULL ? stub->broken_signature : hex;
    stub_send_part(socket, signature, strlen(signature), true);
    for (size_t i = 0; i < 4; i++)
        stub_send_part(socket, parts[i].data, parts[i].length, i < 3 || buffer_count > 0);
    for (size_t i = 0; i < buffer_count; i++)
        stub_send_part(socket, buffers[i].data, buffers[i].length, i + 1 < buffer_count);
}

void stub_send_text(struct stub *stub, int channel, const struct request *parent, const char *type,
                    const char *content) {
    stub_send(stub, channel, parent, type, (struct part){content, strlen(content)}, NULL, 0);
}

/* Steals the content. */
void stub_send_json(struct stub *stub, int channel, const struct request *parent, const char *type,
                    json_t *content) {
    char *text = json_dumps(content, JSON_COMPACT);
    stub_send_text(stub, channel, parent, type, text);
    free(text);
    json_decref(content);
}

void stub_send_status(struct stub *stub, const struct request *parent, const char *state) {
    stub_send_json(stub, IOPUB, parent, "status", json_pack("{s:s}", "execution_state", state));
}

void stub_request_free(struct request *request) {
    for (size_t i = 0; i < request->part_count; i++)
        zmq_msg_close(&request->parts[i]);
    free(request->header);
    json_decref(request->content);
    request->part_count = 0;
    request->header = NULL;
    request->content = NULL;
}

static bool receive_parts(void *socket, struct request *request) {
    for (int more = 1; more != 0;) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0)
            return false;
        more = zmq_msg_more(&part);
        if (request->part_count < PARTS_MAX)
            request->parts[request->part_count++] = part;
        else
            zmq_msg_close(&part);
    }
    return true;
}

static bool check_signature(struct stub *stub, struct request *request, size_t at) {
    char hex[HEX_SIZE];
    struct part parts[4];
    for (size_t i = 0; i < 4; i++) {
        zmq_msg_t *part = &request->parts[at + 1 + i];
        parts[i] = (struct part){zmq_msg_data(part), zmq_msg_size(part)};
    }
    sign(stub, parts, 4, hex);
    zmq_msg_t *signature = &request->parts[at];
    return zmq_msg_size(signature) == strlen(hex) &&
           CRYPTO_memcmp(zmq_msg_data(signature), hex, strlen(hex)) == 0;
}

static bool parse_request(struct stub *stub, struct request *request) {
    size_t at = 0;
    for (; at < request->part_count; at++) {
        zmq_msg_t *part = &request->parts[at];
        size_t size = zmq_msg_size(part);
        if (size == sizeof(DELIMITER) - 1 && memcmp(zmq_msg_data(part), DELIMITER, size) == 0)
            break;
        if (request->ident_count == IDENTS_MAX || size > IDENT_SIZE)
            return false;
        memcpy(request->ident[request->ident_count], zmq_msg_data(part), size);
        request->ident_length[request->ident_count++] = size;
    }
    if (at + 6 > request->part_count || !check_signature(stub, request, at + 1))
        return false;
    zmq_msg_t *header = &request->parts[at + 2], *content = &request->parts[at + 5];
    cleanup_json json_t *tree = json_loadb(zmq_msg_data(header), zmq_msg_size(header), 0, NULL);
    const char *type = json_string_value(json_object_get(tree, "msg_type"));
    if (type == NULL)
        return false;
    snprintf(request->type, sizeof(request->type), "%s", type);
    request->header_length = zmq_msg_size(header);
    request->header = strndup(zmq_msg_data(header), request->header_length);
    request->content =
        json_loadb(zmq_msg_data(content), zmq_msg_size(content), JSON_ALLOW_NUL, NULL);
    request->first_buffer = at + 6;
    return true;
}

/* True when a whole, rightly signed message was there. */
bool stub_receive(struct stub *stub, int channel, struct request *request) {
    memset(request, 0, sizeof(*request));
    request->channel = channel;
    if (!receive_parts(stub->sockets[channel], request))
        return false;
    if (parse_request(stub, request))
        return true;
    fprintf(stderr, "stub_kernel: dropped a message that is malformed or wrongly signed\n");
    stub_request_free(request);
    return false;
}
