/* What becomes of a change of a record that somebody else has changed meanwhile. */
#include "launcher/kube_merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID "0f8fad5b-d9cb-469f-a165-70867728950e"

static struct kube_record *make_record(enum kube_record_state state, const char *start,
                                       const char *created) {
    json_t *tree =
        json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:{s:s}}", "kernel_id", ID, "name", "python3",
                  "owner", "ann", "start", start, "created", created, "marks", "notice", "news");
    struct kube_record *record = kube_record_new(ID, tree);
    json_decref(tree);
    record->state = state;
    record->attempt = 2;
    record->kernel_namespace = strdup("team");
    record->version = strdup("41");
    return record;
}

static struct kube_intent make_intent(enum kube_intent_kind kind) {
    static char start[] = "s1", created[] = "c1";
    return (struct kube_intent){
        .kind = kind, .state = KUBE_RECORD_LIVE, .start = start, .created = created};
}

static const char *text_of(const struct kube_record *record, const char *member) {
    return json_string_value(json_object_get(record->record, member));
}

/* Merges into a record of that state and start, which it gives as well. */
struct merged {
    enum kube_merge outcome;
    struct kube_record *record;
};

static struct merged merge(const struct kube_intent *intent, struct kube_record *there) {
    struct merged merged = {.outcome = KUBE_MERGE_LOST};
    merged.outcome = kube_record_merge(intent, there, &merged.record);
    if (merged.outcome == KUBE_MERGE_WRITE)
        assert_string_equal(merged.record->version, "41"); /* it is conditional */
    else
        assert_null(merged.record);
    kube_record_free(there);
    return merged;
}

static void expect(const struct kube_intent *intent, struct kube_record *there,
                   enum kube_merge outcome) {
    struct merged merged = merge(intent, there);
    assert_int_equal(merged.outcome, outcome);
    kube_record_free(merged.record);
}

static void an_ended_kernel_stays_ended(void **state) {
    (void)state;
    json_t *changes = json_pack("{s:s, s:[s]}", "reason", "mine", "added", "cell");
    struct kube_intent start = make_intent(KUBE_INTENT_START);
    start.record = make_record(KUBE_RECORD_LIVE, "s2", "c1");
    expect(&start, make_record(KUBE_RECORD_ENDED, NULL, "c1"), KUBE_MERGE_LOST);
    kube_record_free(start.record);
    struct kube_intent note = make_intent(KUBE_INTENT_NOTE), dead = make_intent(KUBE_INTENT_DEAD);
    note.changes = dead.changes = changes;
    expect(&note, make_record(KUBE_RECORD_ENDED, NULL, "c1"), KUBE_MERGE_LOST);
    expect(&dead, make_record(KUBE_RECORD_ENDED, NULL, "c1"), KUBE_MERGE_LOST);
    dead.state = KUBE_RECORD_DEAD;
    expect(&dead, make_record(KUBE_RECORD_ENDED, NULL, "c1"), KUBE_MERGE_LOST);
    /* The second end changes nothing of the first one's reason. */
    struct kube_intent end = make_intent(KUBE_INTENT_END);
    end.changes = changes;
    expect(&end, make_record(KUBE_RECORD_ENDED, NULL, "c1"), KUBE_MERGE_DONE);
    json_decref(changes);
}

static void one_kernel_tells_why_another_has_ended(void **state) {
    (void)state;
    struct kube_intent tell = make_intent(KUBE_INTENT_TELL);
    tell.changes = json_pack("{s:s}", "by", "heir");
    struct merged merged = merge(&tell, make_record(KUBE_RECORD_ENDED, NULL, "c1"));
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_string_equal(text_of(merged.record, KUBE_RECORD_TOLD_BY), "heir");
    struct kube_record *told[4];
    for (size_t i = 0; i < 4; i++) {
        told[i] = make_record(KUBE_RECORD_ENDED, NULL, "c1");
        json_object_update(told[i]->record, merged.record->record);
    }
    kube_record_free(merged.record);
    expect(&tell, told[0], KUBE_MERGE_DONE); /* a lost answer, or another attempt */
    json_object_set_new(tell.changes, "by", json_string("other"));
    expect(&tell, told[1], KUBE_MERGE_LOST);
    json_object_set_new(tell.changes, "instead_of", json_string("third"));
    expect(&tell, told[2], KUBE_MERGE_LOST);
    json_object_set_new(tell.changes, "instead_of", json_string("heir")); /* it could not */
    merged = merge(&tell, told[3]);
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_string_equal(text_of(merged.record, KUBE_RECORD_TOLD_BY), "other");
    kube_record_free(merged.record);
    expect(&tell, make_record(KUBE_RECORD_LIVE, "s1", "c1"), KUBE_MERGE_DONE);
    /* Nor does a better reason for the end make it forgotten. */
    struct kube_record *there = make_record(KUBE_RECORD_ENDED, NULL, "c1");
    json_object_set_new(there->record, KUBE_RECORD_WITNESS, json_true());
    json_object_set_new(there->record, KUBE_RECORD_TOLD_BY, json_string("heir"));
    struct kube_intent end = make_intent(KUBE_INTENT_END);
    end.changes = json_pack("{s:s}", "reason", "mine");
    merged = merge(&end, there);
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_string_equal(text_of(merged.record, KUBE_RECORD_TOLD_BY), "heir");
    kube_record_free(merged.record);
    json_decref(tell.changes);
    json_decref(end.changes);
}

static void the_id_of_an_ended_kernel_is_taken_once(void **state) {
    (void)state;
    struct kube_intent start = make_intent(KUBE_INTENT_START);
    start.state = KUBE_RECORD_ENDED;
    start.start = NULL;
    start.record = make_record(KUBE_RECORD_LIVE, "s9", "c9");
    start.record->attempt = 1;
    struct merged merged = merge(&start, make_record(KUBE_RECORD_ENDED, NULL, "c1"));
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_int_equal(merged.record->state, KUBE_RECORD_LIVE);
    assert_int_equal(merged.record->attempt, 3); /* the earlier kernel's pod 2 may be there */
    kube_record_free(merged.record);
    expect(&start, make_record(KUBE_RECORD_LIVE, "s5", "c5"), KUBE_MERGE_LOST);
    expect(&start, make_record(KUBE_RECORD_LIVE, "s9", "c9"), KUBE_MERGE_DONE); /* a lost answer */
    kube_record_free(start.record);
}

static void a_first_start_takes_nobodys_place(void **state) {
    (void)state;
    struct kube_intent start = make_intent(KUBE_INTENT_START);
    start.is_new = true;
    start.start = start.created = NULL;
    start.record = make_record(KUBE_RECORD_LIVE, "s9", "c9");
    expect(&start, make_record(KUBE_RECORD_LIVE, "s1", "c1"), KUBE_MERGE_LOST);
    expect(&start, make_record(KUBE_RECORD_DEAD, "s1", "c1"), KUBE_MERGE_LOST);
    expect(&start, make_record(KUBE_RECORD_LIVE, "s9", "c9"), KUBE_MERGE_DONE);
    kube_record_free(start.record);
}

static void of_two_starts_at_once_the_first_counts(void **state) {
    (void)state;
    struct kube_intent start = make_intent(KUBE_INTENT_START);
    start.record = make_record(KUBE_RECORD_LIVE, "s2", "c1");
    struct kube_record *there = make_record(KUBE_RECORD_DEAD, "s1", "c1");
    json_object_set_new(there->record, "held", json_pack("[s]", "cell"));
    struct merged merged = merge(&start, there);
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_int_equal(merged.record->state, KUBE_RECORD_LIVE);
    assert_int_equal(merged.record->attempt, 3);
    assert_int_equal(json_array_size(json_object_get(merged.record->record, "held")), 1);
    kube_record_free(merged.record);
    expect(&start, make_record(KUBE_RECORD_LIVE, "s3", "c1"), KUBE_MERGE_JOINED);
    expect(&start, make_record(KUBE_RECORD_LIVE, "s3", "c7"), KUBE_MERGE_LOST);
    kube_record_free(start.record);
}

static void a_death_counts_for_the_start_that_died(void **state) {
    (void)state;
    struct kube_intent dead = make_intent(KUBE_INTENT_DEAD);
    dead.changes = json_pack("{s:s, s:s}", "reason", "mine", "phase", "dead");
    struct kube_record *there = make_record(KUBE_RECORD_LIVE, "s1", "c1");
    json_object_set_new(there->record, "held", json_pack("[s]", "theirs"));
    struct merged merged = merge(&dead, there);
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_int_equal(merged.record->state, KUBE_RECORD_DEAD);
    assert_string_equal(text_of(merged.record, "reason"), "mine");
    assert_non_null(json_object_get(merged.record->record, "held"));
    assert_non_null(json_object_get(merged.record->record, "marks"));
    kube_record_free(merged.record);
    expect(&dead, make_record(KUBE_RECORD_LIVE, "s2", "c1"), KUBE_MERGE_LOST);
    expect(&dead, make_record(KUBE_RECORD_DEAD, "s1", "c1"), KUBE_MERGE_DONE);
    dead.state = KUBE_RECORD_DEAD; /* it knew of that death: there is news */
    expect(&dead, make_record(KUBE_RECORD_DEAD, "s1", "c1"), KUBE_MERGE_WRITE);
    json_decref(dead.changes);
}

static void an_end_keeps_whose_it_was(void **state) {
    (void)state;
    struct kube_intent end = make_intent(KUBE_INTENT_END);
    end.changes = json_pack("{s:s, s:i}", "reason", "culled", "died_ms", 7);
    struct merged merged = merge(&end, make_record(KUBE_RECORD_LIVE, "s5", "c1"));
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_int_equal(merged.record->state, KUBE_RECORD_ENDED);
    assert_string_equal(text_of(merged.record, "owner"), "ann");
    assert_string_equal(text_of(merged.record, "reason"), "culled");
    assert_string_equal(text_of(merged.record, "phase"), "ended");
    assert_null(json_object_get(merged.record->record, "marks"));
    assert_string_equal(merged.record->kernel_namespace, "team");
    kube_record_free(merged.record);
    expect(&end, make_record(KUBE_RECORD_LIVE, "s5", "c2"), KUBE_MERGE_LOST); /* another kernel */
    json_decref(end.changes);
}

static void who_ended_it_knows_better_than_who_saw_it(void **state) {
    (void)state;
    struct kube_intent saw = make_intent(KUBE_INTENT_END), end = make_intent(KUBE_INTENT_END);
    saw.changes = json_pack("{s:s, s:b}", "reason", "it was shut down", KUBE_RECORD_WITNESS, 1);
    end.changes = json_pack("{s:s}", "reason", "culled");
    struct merged seen = merge(&saw, make_record(KUBE_RECORD_LIVE, "s5", "c1"));
    assert_int_equal(seen.outcome, KUBE_MERGE_WRITE);
    struct merged merged = merge(&end, seen.record);
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_string_equal(text_of(merged.record, "reason"), "culled");
    assert_null(json_object_get(merged.record->record, KUBE_RECORD_WITNESS));
    expect(&saw, merged.record, KUBE_MERGE_DONE);
    json_decref(saw.changes);
    json_decref(end.changes);
}

static void notes_of_two_gateways_stand_side_by_side(void **state) {
    (void)state;
    json_t *before = json_pack("[s, s]", "a1", "a2"), *now = json_pack("[s, s]", "a2", "a3");
    struct kube_intent note = make_intent(KUBE_INTENT_NOTE);
    note.changes = kube_intent_difference(before, now);
    struct kube_record *there = make_record(KUBE_RECORD_DEAD, "s9", "c1");
    json_object_set_new(there->record, "held", json_pack("[s, s, s]", "a1", "b1", "a2"));
    struct merged merged = merge(&note, there);
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_int_equal(merged.record->state, KUBE_RECORD_DEAD);
    json_t *expected = json_pack("[s, s, s]", "b1", "a2", "a3");
    assert_true(json_equal(json_object_get(merged.record->record, "held"), expected));
    struct kube_record *again = merged.record; /* the answer was lost, and it is tried again */
    expect(&note, again, KUBE_MERGE_DONE);
    json_decref(note.changes);
    note.changes = kube_intent_difference(expected, NULL);
    there = make_record(KUBE_RECORD_LIVE, "s1", "c1");
    json_object_set_new(there->record, "held", json_incref(expected));
    merged = merge(&note, there);
    assert_null(json_object_get(merged.record->record, "held"));
    kube_record_free(merged.record);
    json_decref(note.changes);
    json_decref(expected);
    json_decref(before);
    json_decref(now);
}

static void a_launcher_is_heard_once_a_start(void **state) {
    (void)state;
    struct kube_intent heard = make_intent(KUBE_INTENT_HEARD);
    struct merged merged = merge(&heard, make_record(KUBE_RECORD_LIVE, "s1", "c1"));
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_true(json_is_true(json_object_get(merged.record->record, KUBE_RECORD_HEARD)));
    expect(&heard, merged.record, KUBE_MERGE_DONE);
    expect(&heard, make_record(KUBE_RECORD_LIVE, "s2", "c1"), KUBE_MERGE_LOST);
    expect(&heard, make_record(KUBE_RECORD_ENDED, NULL, "c1"), KUBE_MERGE_LOST);
}

static void rights_are_changed_one_by_one(void **state) {
    (void)state;
    struct kube_intent share = make_intent(KUBE_INTENT_SHARE);
    share.changes = json_pack("{s:s, s:n}", "carla", "view", "bert");
    struct kube_record *there = make_record(KUBE_RECORD_LIVE, "s2", "c1");
    json_object_set_new(there->record, "shares",
                        json_pack("{s:s, s:s}", "bert", "use", "dora", "use"));
    struct merged merged = merge(&share, there);
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    json_t *expected = json_pack("{s:s, s:s}", "carla", "view", "dora", "use");
    assert_true(json_equal(json_object_get(merged.record->record, "shares"), expected));
    json_decref(expected);
    expect(&share, merged.record, KUBE_MERGE_DONE);
    expect(&share, make_record(KUBE_RECORD_LIVE, "s1", "c2"), KUBE_MERGE_LOST);
    expect(&share, make_record(KUBE_RECORD_ENDED, NULL, "c1"), KUBE_MERGE_LOST);
    json_decref(share.changes);
}

static void what_is_cleared_is_said_once(void **state) {
    (void)state;
    struct kube_intent cleared = make_intent(KUBE_INTENT_CLEARED);
    struct kube_record *there = make_record(KUBE_RECORD_ENDED, NULL, "c1");
    json_object_set_new(there->record, KUBE_RECORD_UNFINISHED, json_true());
    struct merged merged = merge(&cleared, there);
    assert_int_equal(merged.outcome, KUBE_MERGE_WRITE);
    assert_null(json_object_get(merged.record->record, KUBE_RECORD_UNFINISHED));
    expect(&cleared, merged.record, KUBE_MERGE_DONE);
    expect(&cleared, make_record(KUBE_RECORD_LIVE, "s1", "c1"), KUBE_MERGE_LOST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ended_kernel_stays_ended),
        cmocka_unit_test(one_kernel_tells_why_another_has_ended),
        cmocka_unit_test(the_id_of_an_ended_kernel_is_taken_once),
        cmocka_unit_test(a_first_start_takes_nobodys_place),
        cmocka_unit_test(of_two_starts_at_once_the_first_counts),
        cmocka_unit_test(a_death_counts_for_the_start_that_died),
        cmocka_unit_test(an_end_keeps_whose_it_was),
        cmocka_unit_test(who_ended_it_knows_better_than_who_saw_it),
        cmocka_unit_test(notes_of_two_gateways_stand_side_by_side),
        cmocka_unit_test(a_launcher_is_heard_once_a_start),
        cmocka_unit_test(rights_are_changed_one_by_one),
        cmocka_unit_test(what_is_cleared_is_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
