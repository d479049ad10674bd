/* Any bytes as a batch: every frame lies inside it, and the frames written again are the same
 * bytes. */
#include "launcher/link.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buffer again = {.limit = LINK_BATCH_MAX};
    struct link_frame frame;
    struct error err = {0};
    size_t at = 0, before = 0;
    int more;
    while ((more = link_frame_next(data, size, &at, &frame, &err)) > 0) {
        bool external = frame.flags & LINK_FLAG_EXTERNAL;
        assert(at > before && at <= size && frame.length <= LINK_PAYLOAD_MAX);
        assert(external == (frame.payload == NULL));
        if (!external)
            assert(frame.payload >= data && frame.payload + frame.length == data + at);
        assert(link_type_name(frame.type) != NULL);
        uint64_t value;
        int is_number = link_u64_read(&frame, frame.payload, &value);
        assert((is_number == 0) == (frame.length == 8 && !external));
        int written = link_frame_write(&again, (enum link_type)frame.type, frame.attachment,
                                       frame.seq, frame.payload, frame.length, external);
        assert(written == 0 && again.length == at);
        again.data[before + 1] = data[before + 1]; /* other flags mean nothing and are not kept */
        assert(memcmp(again.data + before, data + before, at - before) == 0);
        before = at;
    }
    assert((more < 0) == (err.code != ERROR_NONE));
    assert(more < 0 || at == size);
    buffer_free(&again);
    return 0;
}
