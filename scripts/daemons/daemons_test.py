"""Drives chain, routing server and orchestrators as separate processes, and takes them away.

Usage: daemons_test.py DIRECTORY_OF_BINARIES MODEL

Each check is one line; a failed one does not stop the others. Never uses a fixed port.
"""

import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from world import Failure, World

# The model writes some thirty tokens, which takes seconds at the orchestrators' power cap.
LONG_ANSWER = "Count from 1 to 10."

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


@check
def the_chain_starts_and_says_where_it_is(world):
    world.start_chain()
    shown = world.cactus("admin", "show")
    assert shown["admin"] == shown["contract"] and shown["chain_id"] == 4, shown


@check
def a_router_with_a_wrong_address_exits_with_2_and_names_the_flag(world):
    code, errors = world.run_router("--data-dir", world.folder("wrong"), "--public-url", "nonsense")
    assert code == 2 and "--public-url" in errors, (code, errors)


@check
def a_router_without_coins_and_faucet_names_the_account_to_fund(world):
    code, errors = world.run_router("--data-dir", world.folder("poor"), "--chain-url", world.chain_url)
    assert code == 1 and "fund it with at least" in errors and "account 0x" in errors, (code, errors)


@check
def a_router_makes_its_key_and_registers_itself_by_file_env_and_flag(world):
    world.start_router()
    key = world.folder("router") / "server.key"
    world.until("the key file", key.exists)
    assert key.stat().st_mode & 0o777 == 0o600, oct(key.stat().st_mode)
    world.until("the server's description", lambda: world.get("/v1/server")[0] == 200)
    world.server = world.get("/v1/server")[1]["server"]
    entry = world.standing(world.server)["server"]
    assert entry["url"] == world.router_url, "the flag wins over the file"
    assert not entry["authorized"] and entry["bond"] > 0, entry
    assert not world.folder("of-the-file").exists(), "the environment wins over the file"


@check
def a_router_that_is_not_authorised_is_not_ready_and_says_what_to_run(world):
    status, ready = world.get("/readyz")
    assert (status, ready["authorized"]) == (503, False), (status, ready)
    assert world.get("/healthz")[0] == 200
    command = world.router.logged("cactus admin authorize-server", "command")
    assert world.server in command and world.chain_url in command, command
    world.command_for_the_admin = command.split()[1:]


@check
def it_works_once_the_admin_ran_that_command(world):
    shown = world.cactus(*world.command_for_the_admin)
    assert shown["server"]["authorized"] and len(shown["done"]) == 1, shown
    world.until("the authorisation", lambda: world.get("/readyz")[1]["authorized"])
    again = world.cactus(*world.command_for_the_admin)
    assert again["done"] == [], "nothing is done twice"


@check
def the_admin_is_told_what_is_wrong_and_what_to_do(world):
    code, errors = world.cactus_fails("admin", "admit-operator", "0x1")
    assert code == 1 and "not registered" in errors and "help:" in errors, errors
    stranger = world.folder("stranger.key")
    stranger.write_text("0x" + "5" * 64 + "\n")
    stranger.chmod(0o600)
    code, errors = world.cactus_fails(
        "admin", "revoke-server", world.server, "--admin-key-file", str(stranger)
    )
    assert code == 1 and "is not the admin" in errors and "--admin-key-file" in errors, errors
    code, errors = world.cactus_fails("--contract", "0x1", "admin", "revoke-server", world.server)
    assert code == 1 and "--admin-key-file" in errors, "the well-known key is for one contract only"


@check
def two_orchestrators_register_are_admitted_and_linked(world):
    for name in ("agave", "yucca"):
        world.start_orchestrator(name)
    for operator in world.operators:
        shown = world.cactus("admin", "admit-operator", operator, "--wait", "20")
        entry = shown["orchestrator"]
        assert entry["whitelisted"] and all(node["validated"] for node in entry["nodes"]), shown
    world.until("two linked nodes", lambda: world.get("/readyz")[1]["nodes"] == 2)
    assert world.get("/readyz")[0] == 200


@check
def a_wallet_is_made_and_funded_and_buys_an_answer(world):
    world.cactus("wallet", "create")
    world.cactus("faucet", "10")
    world.cactus("deposit", "5")
    assert world.deposit() == {"available": 500_000_000, "locked": 0}, world.deposit()
    answer = world.cactus("chat", "What is 12 + 30?")
    assert "42" in answer["text"], answer
    paid = world.settled(answer["cactus"]["task"])["payment"]
    spent = paid["orchestrator_octas"] + paid["fee_octas"]
    assert spent > 0 and world.deposit() == {"available": 500_000_000 - spent, "locked": 0}


@check
def an_api_key_buys_an_answer_over_plain_http(world):
    world.api_key = world.cactus("key", "create", "--budget", "1")["api_key"]
    answer = world.ask("What is 3 + 4?")
    assert "7" in answer["choices"][0]["message"]["content"], answer
    assert answer["usage"]["completion_tokens"] > 0, answer
    task = world.settled(answer["cactus"]["task"])
    assert task["state"] == "settled" and task["verdict"] == "verified", task


@check
def a_router_killed_between_answer_and_settlement_pays_exactly_once(world):
    before = world.books()
    world.chain.send(signal.SIGSTOP)
    answer = world.ask("What is 20 + 5?")
    assert "25" in answer["choices"][0]["message"]["content"], "answers go on without the chain"
    task = world.get(f"/v1/tasks/{answer['cactus']['task']}")[1]
    assert task["state"] == "delivered" and task["payment"] is None, task
    world.router.kill()
    world.chain.send(signal.SIGCONT)
    world.start_router()
    paid_once(world, before, [task["id"]])


@check
def routers_killed_at_any_moment_after_an_answer_pay_exactly_once(world):
    before, tasks = world.books(), []
    for milliseconds in (0, 8, 20):
        world.until("a linked node", lambda: world.get("/readyz")[1].get("nodes"))
        tasks.append(world.ask("What is 2 + 3?")["cactus"]["task"])
        # The payment is on its way meanwhile; wherever it is, the kill must not matter.
        time.sleep(milliseconds / 1000)
        world.router.kill()
        # A new address is one more transaction among those that are under way.
        world.start_router(path=f"/after/{milliseconds}")
    paid_once(world, before, tasks)
    url = world.router_url + "/after/20"
    world.until("the new address", lambda: world.standing(world.server)["server"]["url"] == url)


def paid_once(world, before, tasks):
    """Each task is settled, and the books say that nothing was paid twice or to someone else."""
    world.until("the restarted router", lambda: world.get("/healthz")[0] == 200)
    earned, spent = dict.fromkeys(world.operators, 0), 0
    for task in map(world.settled, tasks):
        paid = task["payment"]
        assert paid["orchestrator_octas"] > 0, task
        earned[task["operator"]] += paid["orchestrator_octas"]
        spent += paid["orchestrator_octas"] + paid["fee_octas"]
    after = world.books()
    coins = {operator: after["coins"][operator] - before["coins"][operator] for operator in earned}
    assert coins == earned, (coins, earned)
    assert after["served"] - before["served"] == len(tasks), (before, after)
    expected = {"available": before["deposit"]["available"] - spent, "locked": 0}
    assert after["deposit"] == expected, (after, expected)
    world.until("two linked nodes", lambda: world.get("/readyz")[1].get("nodes") == 2)


@check
def an_orchestrator_killed_in_mid_stream_is_not_paid_and_another_one_goes_on(world):
    before = world.books()
    stream = world.stream(LONG_ANSWER)
    stream.first_text()
    operator = world.until("the task", lambda: world.get(f"/v1/tasks/{stream.task_id}")[1].get("operator"))
    world.killed = operator
    world.operators[operator].kill()
    events = stream.rest()
    assert events[-1] == "[DONE]" and not any("error" in event for event in events), events[-2:]
    task = world.final(stream.task_id)
    assert task["state"] == "refunded", task

    def books_with_one_more_payment():
        books = world.books()
        return books if books["served"] == before["served"] + 1 else None

    after = world.until("the other one's payment", books_with_one_more_payment)
    spent = before["deposit"]["available"] - after["deposit"]["available"]
    assert spent > 0 and after["deposit"]["locked"] == 0, (before, after)
    assert after["coins"][operator] == before["coins"][operator], "who broke off is not paid"


@check
def the_other_orchestrator_serves_on(world):
    world.until("one linked node", lambda: world.get("/readyz")[1]["nodes"] == 1)
    answer = world.ask("What is 8 + 8?")
    task = world.settled(answer["cactus"]["task"])
    assert "16" in answer["choices"][0]["message"]["content"] and task["operator"] != world.killed


@check
def an_accusation_holds_stake_back_and_the_same_evidence_counts_once(world):
    evidence = world.folder("evidence.json")
    evidence.write_text('{"what": "two receipts for one task"}')
    words = ("case", "open", world.killed, "--evidence", str(evidence))
    bonded = world.standing(world.killed)["orchestrator"]["stake"]["bonded"]
    opened = world.cactus(*words)
    assert opened["phase"] == "response" and opened["operator"] == world.killed, opened
    assert opened["quarantined"] == bonded // 2 and opened["outcome"] == "open", opened
    assert world.cactus("case", "show", opened["case"])["voters"], "someone can vote"
    code, errors = world.cactus_fails(*words)
    assert code == 1 and "EEVIDENCE" in errors, errors


@check
def a_server_that_is_revoked_can_be_let_in_again(world):
    revoked = world.cactus("admin", "revoke-server", world.server)
    assert not revoked["server"]["authorized"], revoked
    assert world.cactus(*world.command_for_the_admin)["server"]["authorized"]


@check
def sigterm_lets_the_answer_under_way_end_and_everything_exits_with_0(world):
    before = world.books()
    stream = world.stream(LONG_ANSWER)
    stream.first_text()
    world.router.send(signal.SIGTERM)
    events = stream.rest()
    assert events[-1] == "[DONE]", events[-1]
    assert world.router.ended() == 0
    after = world.books()
    assert after["served"] == before["served"] + 1 and after["deposit"]["locked"] == 0, after
    for daemon in [world.operators[o] for o in world.operators if o != world.killed] + [world.chain]:
        daemon.send(signal.SIGTERM)
        assert daemon.ended() == 0, daemon.name


def run(world):
    """Runs every check and returns how many failed."""
    failed = 0
    for function in CHECKS:
        name, started = function.__name__.replace("_", " "), time.monotonic()
        try:
            function(world)
            print(f"ok    {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except (AssertionError, Failure, KeyError, OSError, TypeError, ValueError) as error:
            failed += 1
            line = traceback.extract_tb(error.__traceback__)
            line = next(frame.lineno for frame in line if frame.filename == __file__ and frame.name != "run")
            print(f"FAIL  {name}: line {line}: {error!r}", flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed", flush=True)
    return failed


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="cactus-daemons-") as home:
        network = World(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), Path(home))
        try:
            failures = run(network)
            if failures:
                network.print_logs()
        finally:
            network.kill_all()
    sys.exit(1 if failures else 0)
