#include "launcher/kube_retry.h"

#include <string.h>
#include <sys/random.h>

/* RFC 9110, 9.2.2; DELETE of an object by its name, too. */
static bool is_repeatable(const struct kube_attempt *attempt) {
    return attempt->may_repeat || strcmp(attempt->method, "GET") == 0 ||
           strcmp(attempt->method, "PUT") == 0 || strcmp(attempt->method, "DELETE") == 0;
}

/* It may have been carried out. */
static enum kube_next judge_broken(const struct kube_attempt *attempt) {
    return is_repeatable(attempt) && attempt->number < KUBE_BROKEN_ATTEMPTS_MAX ? KUBE_AGAIN
                                                                                : KUBE_GIVE_UP;
}

static enum kube_next judge_transfer(const struct kube_attempt *attempt) {
    const struct kube_outcome *outcome = attempt->outcome;
    if (outcome->is_too_large)
        return KUBE_GIVE_UP;
    switch (outcome->code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
        return KUBE_AGAIN_IF_RENEWED;
    case CURLE_SSL_CONNECT_ERROR: /* a server that is restarting, or none that speaks TLS */
        return attempt->number < KUBE_BROKEN_ATTEMPTS_MAX ? KUBE_AGAIN : KUBE_GIVE_UP;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return KUBE_AGAIN;
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return outcome->was_sent ? judge_broken(attempt) : KUBE_AGAIN;
    default:
        return KUBE_GIVE_UP;
    }
}

enum kube_next kube_retry_judge(const struct kube_attempt *attempt) {
    const struct kube_outcome *outcome = attempt->outcome;
    if (outcome->code != CURLE_OK)
        return judge_transfer(attempt);
    switch (outcome->status) {
    case 401:
        return KUBE_AGAIN_IF_RENEWED;
    case 429:
    case 503:
        return KUBE_AGAIN;
    case 500:
    case 502:
    case 504:
        return judge_broken(attempt);
    case 409: /* two POSTs met at the usage of a quota, and this one was not carried out */
        return strcmp(attempt->method, "POST") == 0 && strcmp(attempt->reason, "Conflict") == 0
                   ? KUBE_AGAIN
                   : KUBE_GIVE_UP;
    default:
        return attempt->is_garbage ? judge_broken(attempt) : KUBE_GIVE_UP;
    }
}

int64_t kube_retry_pause_ms(int64_t first_ms, unsigned number, int64_t retry_after_ms) {
    int64_t whole_ms = first_ms;
    for (unsigned i = 1; i < number && whole_ms < 50 * first_ms; i++)
        whole_ms *= 2;
    if (whole_ms > 50 * first_ms)
        whole_ms = 50 * first_ms;
    uint32_t dice = 0;
    if (getrandom(&dice, sizeof dice, GRND_NONBLOCK) != sizeof dice)
        dice = 0; /* at boot; half is a pause too */
    int64_t half_ms = whole_ms / 2;
    int64_t pause_ms =
        half_ms + (int64_t)((double)dice / UINT32_MAX * (double)(whole_ms - half_ms));
    return retry_after_ms < 0 ? pause_ms : retry_after_ms + pause_ms - half_ms;
}
