/* A request to the spawner of any counts and texts: refused, or cut into as many texts as it says,
 * which are the body. */
#include "launcher/spawner_request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct spawner_head head;
    if (size < sizeof head)
        return 0;
    memcpy(&head, data, sizeof head);
    data += sizeof head;
    size -= sizeof head;
    if (head.body_size > size)
        head.body_size = (uint32_t)size; /* the spawner has read as much as the head says */
    char *body = malloc(head.body_size + 1u);
    memcpy(body, data, head.body_size);
    char **texts = spawner_request_texts(&head, body);
    if (texts != NULL) {
        size_t seen = 0, length = 0, nulls = 0;
        for (char **text = texts; nulls < 2; text++) {
            if (*text == NULL) {
                assert(seen == head.argument_count + (nulls++ > 0 ? head.environment_count : 0));
                continue;
            }
            assert(*text == body + length);
            length += strlen(*text) + 1;
            seen++;
        }
        assert(length == head.body_size);
    }
    free(texts);
    free(body);
    return 0;
}
