#[test_only]
/// Deliveries on chain: what an orchestrator does when its server is silent, and what server and client can do then.
module cactus::delivery_tests {
    use cactus::case;
    use cactus::config;
    use cactus::court;
    use cactus::dispute;
    use cactus::escrow;
    use cactus::parameters;
    use cactus::payment;
    use cactus::reputation;
    use cactus::server_registry;
    use cactus::task;
    use cactus::world::{Self, Person};

    const SERVER: address = @0x5e1;
    const OPERATOR: address = @0x0c1;
    const ACCUSER: address = @0xacc;
    const STRANGER: address = @0x99;
    const V1: address = @0xb1;
    const LOCK: u64 = 10000;
    const DEADLINE: u64 = 600;
    const REVIEW: u64 = 3600;
    const DAY: u64 = 86400;
    const SETTLED: u8 = 2;
    const REFUNDED: u8 = 3;
    const DELIVERED: u8 = 4;
    const DISPUTED: u8 = 5;

    fun assigned(): Person {
        world::start();
        world::authorized_server(SERVER);
        let node = world::working_operator(OPERATOR);
        let client = world::client(10 * world::apt());
        world::create_task(&client, 1, OPERATOR, node, LOCK);
        client
    }

    fun delivered(): Person {
        let client = assigned();
        deliver(&client);
        client
    }

    /// Three validators, and a delivered task whose client and server can pay an accuser's bond.
    fun before_a_court(): Person {
        let client = delivered();
        vector[V1, @0xb2, @0xb3].for_each_ref(|validator| config::set_validator(&world::admin(), *validator, true));
        config::set_validator(&world::admin(), @cactus, false);
        world::fund(world::address_of(&client), world::apt());
        world::fund(ACCUSER, world::apt());
        client
    }

    fun deliver(client: &Person) { deliver_as(OPERATOR, client, 1000, 2000, world::id(8)) }

    fun deliver_as(operator: address, client: &Person, prompt: u64, output: u64, receipt: vector<u8>) {
        let client = world::address_of(client);
        payment::deliver_task(&world::sign_as(operator), client, world::id(1), prompt, output, 7, receipt);
    }

    fun complete(client: &Person) {
        let client = world::address_of(client);
        payment::complete_task(&world::sign_as(SERVER), client, world::id(1), 1000, 0, 1, world::id(9));
    }

    fun fail(client: &Person) {
        payment::fail_task(&world::sign_as(SERVER), world::address_of(client), world::id(1), 1);
    }

    fun release(client: &Person) {
        payment::release_expired(&world::sign_as(STRANGER), world::address_of(client), world::id(1));
    }

    fun refund(client: &Person) {
        payment::refund_expired(&world::sign_as(STRANGER), world::address_of(client), world::id(1));
    }

    fun accuse(client: &Person, accuser: address): address {
        let client = world::address_of(client);
        dispute::accuse_for_test(&world::sign_as(accuser), OPERATOR, client, world::id(1), world::id(5))
    }

    fun finalize(case: address) { dispute::finalize(&world::sign_as(STRANGER), case) }

    fun vote(client: &Person, case: address, votes: vector<u8>) {
        court::first_vote(&court::about(client, case), votes);
    }

    fun check(client: &Person, state: u8, paid: u64) {
        let address = world::address_of(client);
        let (s, _, _, _, orchestrator, fees, refunded, _) = task::unpack_for_test(payment::task(address, world::id(1)));
        assert!(s == state, (s as u64));
        assert!(orchestrator + fees == paid, orchestrator + fees);
        let is_final = state == SETTLED || state == REFUNDED;
        assert!(refunded == if (is_final) LOCK - paid else 0, refunded);
        let (available, locked) = escrow::unpack_for_test(payment::balance(address));
        assert!(locked == if (is_final) 0 else LOCK, locked);
        assert!(available == 10 * world::apt() - if (is_final) paid else LOCK, available);
    }

    fun failures(): (u64, u64) {
        let record = reputation::of(OPERATOR);
        let (_, _, provider, _, _, _) = reputation::unpack_for_test(record);
        (provider, reputation::idle_for_test(record))
    }

    //
    // Delivering
    //

    #[test]
    fun a_delivery_is_on_record_and_moves_nothing() {
        let client = delivered();
        check(&client, DELIVERED, 0);
        let view = payment::task(world::address_of(&client), world::id(1));
        let (prompt, output, compute, receipt, until, case) = task::delivery_for_test(view);
        assert!(prompt == 1000 && output == 2000 && compute == 7 && receipt == world::id(8), 1);
        assert!(until == world::now() + REVIEW && case == @0x0, 2);
        world::assert_conserved(vector[world::address_of(&client), SERVER, OPERATOR]);
    }

    #[test]
    #[expected_failure(abort_code = 0x5000d, location = cactus::payment)]
    fun only_the_tasks_orchestrator_delivers() {
        deliver_as(STRANGER, &assigned(), 1, 1, world::id(8));
    }

    #[test]
    #[expected_failure(abort_code = 0x3000e, location = cactus::payment)]
    fun a_task_is_delivered_once() {
        deliver(&delivered());
    }

    #[test]
    fun a_delivery_on_the_deadline_is_in_time() {
        let client = assigned();
        world::wait(DEADLINE);
        deliver(&client);
        check(&client, DELIVERED, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::payment)]
    fun a_late_delivery_is_refused() {
        let client = assigned();
        world::wait(DEADLINE + 1);
        deliver(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::payment)]
    fun a_final_task_is_not_delivered() {
        let client = assigned();
        complete(&client);
        deliver(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x60007, location = cactus::client_account)]
    fun an_unknown_task_is_not_delivered() {
        world::start();
        deliver(&world::client(5));
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::task)]
    fun a_delivery_names_its_receipt_by_a_whole_hash() {
        deliver_as(OPERATOR, &assigned(), 1, 1, x"08");
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::pricing)]
    fun a_delivery_that_cannot_be_priced_is_refused() {
        deliver_as(OPERATOR, &assigned(), 1000000001, 1, world::id(8));
    }

    #[test]
    fun an_early_delivery_leaves_the_server_its_time() {
        let client = assigned();
        parameters::set_for_test(b"review_seconds", 300);
        deliver(&client);
        world::wait(DEADLINE);
        complete(&client);
        check(&client, SETTLED, 500);
    }

    //
    // The server and its review
    //

    #[test]
    fun the_servers_word_counts_and_not_the_orchestrators() {
        let client = delivered();
        world::wait(REVIEW);
        complete(&client);
        check(&client, SETTLED, 500);
        world::assert_conserved(vector[world::address_of(&client), SERVER, OPERATOR]);
    }

    #[test]
    fun the_server_fails_a_delivery_with_a_reason() {
        let client = delivered();
        world::wait(REVIEW);
        fail(&client);
        check(&client, REFUNDED, 0);
        let (provider, idle) = failures();
        assert!(provider == 1 && idle == 0, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::payment)]
    fun the_server_does_not_complete_after_the_review() {
        let client = delivered();
        world::wait(REVIEW + 1);
        complete(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::payment)]
    fun the_server_does_not_fail_after_the_review() {
        let client = delivered();
        world::wait(REVIEW + 1);
        fail(&client);
    }

    //
    // Time-outs
    //

    #[test]
    fun anyone_has_an_unanswered_delivery_paid_even_during_a_pause() {
        let client = delivered();
        config::pause_all_for_test();
        world::wait(REVIEW + 1);
        release(&client);
        check(&client, SETTLED, 3500);
        let (served, _, _, volume, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(served == 1 && volume == 3290, 1);
        world::assert_conserved(vector[world::address_of(&client), SERVER, OPERATOR, STRANGER]);
    }

    #[test]
    fun a_release_never_exceeds_the_lock() {
        let client = assigned();
        deliver_as(OPERATOR, &client, 1000000000, 1000000000, world::id(8));
        world::wait(REVIEW + 1);
        release(&client);
        check(&client, SETTLED, LOCK);
        world::assert_conserved(vector[world::address_of(&client), SERVER, OPERATOR]);
    }

    #[test]
    fun a_delivery_to_a_server_that_left_is_paid() {
        let client = delivered();
        server_registry::remove_server(&world::sign_as(SERVER));
        world::wait(REVIEW + 1);
        release(&client);
        check(&client, SETTLED, 3500);
        world::assert_conserved(vector[world::address_of(&client), SERVER, OPERATOR]);
    }

    #[test]
    #[expected_failure(abort_code = 0x30010, location = cactus::payment)]
    fun nothing_is_released_during_the_review() {
        let client = delivered();
        world::wait(REVIEW);
        release(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000f, location = cactus::payment)]
    fun what_nobody_delivered_is_not_released() {
        let client = assigned();
        world::wait(DEADLINE + REVIEW);
        release(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::payment)]
    fun a_delivery_is_released_once() {
        let client = delivered();
        world::wait(REVIEW + 1);
        release(&client);
        release(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000e, location = cactus::payment)]
    fun what_was_delivered_is_not_refunded_as_expired() {
        let client = delivered();
        world::wait(REVIEW + 1);
        refund(&client);
    }

    #[test]
    fun what_nobody_delivered_counts_as_idle_and_costs_no_quality() {
        let client = assigned();
        world::wait(DEADLINE + 1);
        refund(&client);
        check(&client, REFUNDED, 0);
        let (provider, idle) = failures();
        assert!(provider == 0 && idle == 1, 1);
    }

    //
    // Disputes
    //

    #[test]
    fun an_upheld_case_refunds_the_task_that_it_held() {
        let client = before_a_court();
        let case = accuse(&client, world::address_of(&client));
        check(&client, DISPUTED, 0);
        let (prompt, _, _, _, until, holder) =
            task::delivery_for_test(payment::task(world::address_of(&client), world::id(1)));
        assert!(prompt == 1000 && until == 0 && holder == case, 1);
        vote(&client, case, vector[1, 1, 1]);
        world::wait(DAY);
        finalize(case);
        check(&client, REFUNDED, 0);
        // Once by the case, and not again by the task.
        let (provider, _) = failures();
        assert!(provider == 1, 2);
    }

    #[test]
    fun a_rejected_case_pays_the_task_that_it_held() {
        let client = before_a_court();
        let case = accuse(&client, SERVER);
        vote(&client, case, vector[2, 2, 2]);
        world::wait(DAY);
        finalize(case);
        check(&client, SETTLED, 3500);
    }

    #[test]
    fun a_case_on_which_nobody_votes_ends_by_time_and_pays_the_task() {
        let client = before_a_court();
        config::pause_all_for_test();
        let case = accuse(&client, SERVER);
        world::wait(3 * DAY);
        finalize(case);
        check(&client, SETTLED, 3500);
        world::assert_conserved(vector[
            world::address_of(&client), SERVER, OPERATOR, ACCUSER, STRANGER
        ]);
    }

    #[test]
    fun a_strangers_case_holds_no_task_until_a_party_asks_for_it() {
        let client = before_a_court();
        let case = accuse(&client, ACCUSER);
        check(&client, DELIVERED, 0);
        dispute::hold_task(&world::sign_as(SERVER), case);
        check(&client, DISPUTED, 0);
        vote(&client, case, vector[1, 1, 1]);
        world::wait(DAY);
        finalize(case);
        check(&client, REFUNDED, 0);
    }

    #[test]
    fun a_case_leaves_a_task_alone_that_it_does_not_hold() {
        let client = before_a_court();
        let case = accuse(&client, ACCUSER);
        world::wait(REVIEW + 1);
        release(&client);
        world::wait(3 * DAY);
        finalize(case);
        check(&client, SETTLED, 3500);
        let (phase, outcome, _, _, _, _) = case::unpack_for_test(dispute::case(case));
        assert!(phase == 6 && outcome == 3, 1);
    }

    #[test]
    fun a_case_ends_no_task_that_it_does_not_hold() {
        let client = assigned();
        parameters::set_for_test(b"review_seconds", 604800);
        deliver(&client);
        world::fund(ACCUSER, world::apt());
        let case = accuse(&client, ACCUSER);
        world::wait(3 * DAY);
        finalize(case);
        check(&client, DELIVERED, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::dispute)]
    fun a_stranger_has_no_task_held() {
        let client = before_a_court();
        dispute::hold_task(&world::sign_as(ACCUSER), accuse(&client, ACCUSER));
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::dispute)]
    fun no_task_is_held_after_its_review() {
        let client = before_a_court();
        let case = accuse(&client, ACCUSER);
        world::wait(REVIEW + 1);
        dispute::hold_task(&world::sign_as(SERVER), case);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::dispute)]
    fun a_closed_case_holds_no_task() {
        let client = before_a_court();
        parameters::set_for_test(b"review_seconds", 604800);
        let case = accuse(&client, ACCUSER);
        world::wait(3 * DAY);
        finalize(case);
        dispute::hold_task(&world::sign_as(SERVER), case);
    }

    #[test]
    fun a_case_about_an_assigned_task_does_not_hold_it() {
        let client = assigned();
        world::fund(world::address_of(&client), world::apt());
        accuse(&client, world::address_of(&client));
        complete(&client);
        check(&client, SETTLED, 500);
    }

    #[test]
    #[expected_failure(abort_code = 0x30011, location = cactus::payment)]
    fun a_disputed_task_is_not_completed() {
        let client = before_a_court();
        accuse(&client, SERVER);
        complete(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x30011, location = cactus::payment)]
    fun a_disputed_task_is_not_failed() {
        let client = before_a_court();
        accuse(&client, SERVER);
        fail(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x30011, location = cactus::payment)]
    fun a_disputed_task_is_not_released() {
        let client = before_a_court();
        accuse(&client, SERVER);
        world::wait(REVIEW + 1);
        release(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x30011, location = cactus::payment)]
    fun a_disputed_task_is_not_refunded() {
        let client = before_a_court();
        accuse(&client, SERVER);
        world::wait(REVIEW + 1);
        refund(&client);
    }

    #[test]
    fun a_batch_passes_over_a_disputed_task() {
        let client = before_a_court();
        accuse(&client, SERVER);
        payment::complete_tasks(
            &world::sign_as(SERVER), vector[world::address_of(&client)], vector[world::id(1)], vector[1], vector[1],
            vector[1], vector[world::id(9)]
        );
        check(&client, DISPUTED, 0);
    }
}
