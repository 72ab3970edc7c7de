"""Preferences, reward, DPO, PPO, interpolation, on models of a few thousand weights."""

import itertools
import json
import math
from dataclasses import replace

import pytest

from models.discover import discover
from models.errors import UserError
from models.events import Metrics, finish
from models.training.stage import Stage, TrainSettings, as_settings
from tests.models.training import PAIRS, PROMPTS, SHAPE, TALK, run_stage, workspace, write_corpus, write_rows

torch = pytest.importorskip("torch")

from models.training import dpo, interpolate, ppo, preferences, pretrain, reward, sft, tokenizer  # noqa: E402
from models.training.data import Texts, pack_batch  # noqa: E402
from models.training.decoding import Answer, Sampling, sample_answers  # noqa: E402
from models.training.llama import new_llama, open_causal, open_reward  # noqa: E402
from models.training.pairs import answer_document  # noqa: E402

FAST = {"precision": "fp32", "dtype": "fp32", "block": 64}
LABELLER = "models.training.labels:shortest"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A chain up to SFT that answers a little, sampled from often."""
    folder = write_corpus(tmp_path_factory.mktemp("chain"))
    data = ("texts.jsonl", "talk.jsonl")
    run_stage(tokenizer.STAGE, tokenizer.TokenizerSettings(data=data, vocab_size=300), folder)
    run_stage(
        pretrain.STAGE, pretrain.PretrainSettings(data=("texts.jsonl",), model=SHAPE, steps=10, batch_size=4, **FAST), folder
    )
    run_stage(sft.STAGE, sft.SftSettings(data=("talk.jsonl",), steps=60, batch_size=4, lr=1e-2, **FAST), folder)
    return folder


@pytest.fixture(scope="module")
def texts(root):
    return Texts(root / "sft/checkpoint")


def conversation(number):
    return TALK[number]["messages"][:1]


# --- the contract of every stage -------------------------------------------------------------------------------------

STAGES = discover("models.training", "STAGE")


@pytest.mark.parametrize("found", STAGES, ids=lambda item: item.name)
def test_every_stage_keeps_the_contract(found):
    assert not found.error
    stage = found.value
    assert isinstance(stage, Stage)
    assert stage.title
    settings = stage.settings()
    assert stage.settings(**{name: getattr(settings, name) for name in settings.__dataclass_fields__}) == settings
    json.dumps(as_settings(settings))
    for name, item in settings.__dataclass_fields__.items():
        assert item.metadata.get("help") or name in ("optimizer", "muon_lr"), name
    if stage.parent_field:
        assert hasattr(settings, stage.parent_field)
    with pytest.raises(AttributeError):
        settings.seed = 3


def test_the_stages_are_all_there():
    names = {item.value.name for item in STAGES}
    assert names >= {"tokenizer", "pretrain", "sft", "preferences", "reward", "ppo", "dpo", "interpolate"}


def test_a_sampled_nul_can_be_read_again():
    answer = preferences.readable(preferences.Labelled("a\0b", 1.0, "good"))
    assert (answer.text, answer.score, answer.verdict) == ("a\ufffdb", 1.0, "good")


# --- sampling --------------------------------------------------------------------------------------------------------


def test_greedy_answers_are_those_of_transformers(root, texts):
    model = open_causal(root / "sft/checkpoint").eval()
    prompts = texts.prompts([conversation(0), [*TALK[1]["messages"], *conversation(2)], conversation(11)])
    ours = finish(sample_answers(model, prompts, texts.end, Sampling(9, 0.0), [0]))
    for prompt, answer in zip(prompts, ours, strict=True):
        theirs = model.generate(input_ids=torch.tensor([prompt]), max_new_tokens=9, do_sample=False)[0, len(prompt) :]
        assert list(answer.ids) == theirs.tolist()
        assert answer.ended == (answer.ids[-1] == texts.end)


def test_answers_do_not_depend_on_dropped_rows_or_batch_when_greedy(root, texts):
    model = open_causal(root / "sft/checkpoint")
    prompts = texts.prompts([conversation(number) for number in range(9)])
    whole = finish(sample_answers(model, prompts, texts.end, Sampling(8, 0.0), [0]))
    parts = finish(sample_answers(model, prompts, texts.end, Sampling(8, 0.0, batch_size=2), [0]))
    assert whole == parts


def test_samples_follow_the_model_and_the_seed():
    """Two-token answers of a random model: frequencies against the enumerated probabilities."""
    model = new_llama(replace(SHAPE, init_std=0.4), 6, (1, 2, 0), seed=1).eval()
    prompts = [[1, 3], [1, 3]] * 1500
    answers = finish(sample_answers(model, prompts, -1, Sampling(2, 0.7), [4]))
    assert answers == finish(sample_answers(model, prompts, -1, Sampling(2, 0.7), [4]))
    assert answers != finish(sample_answers(model, prompts, -1, Sampling(2, 0.7), [5]))
    exact = {}
    for pair in itertools.product(range(6), repeat=2):
        ids = torch.tensor([[1, 3, *pair]])
        with torch.no_grad():
            logp = (model(input_ids=ids).logits[0] / 0.7).log_softmax(-1)
        exact[pair] = math.exp(logp[1, pair[0]] + logp[2, pair[1]])
    assert sum(exact.values()) == pytest.approx(1.0, abs=1e-4)
    for pair, probability in exact.items():
        seen = sum(answer.ids == pair for answer in answers) / len(answers)
        assert abs(seen - probability) < 5 * math.sqrt(probability * (1 - probability) / len(answers)) + 1e-3


def test_top_p_never_takes_the_tail():
    from models.training.decoding import choose

    logits = torch.tensor([[0.6, 0.3, 0.1]]).log().expand(2000, 3)
    generator = torch.Generator().manual_seed(0)
    assert set(choose(logits, generator, 1.0, 0.8).tolist()) == {0, 1}
    assert set(choose(logits, generator, 1.0, 0.5).tolist()) == {0}
    drawn = choose(logits, generator).bincount(minlength=3) / 2000
    assert drawn.tolist() == pytest.approx([0.6, 0.3, 0.1], abs=0.05)


# --- preferences -----------------------------------------------------------------------------------------------------


def test_preferences_are_labelled_samples_and_dev_has_other_prompts(root):
    settings = preferences.PreferenceSettings(
        prompts=("prompts.jsonl",), labeller=LABELLER, samples=6, temperature=2.0, max_new_tokens=6, dev_share=0.25
    )
    metrics = run_stage(preferences.STAGE, settings, root)
    folder = root / "preferences"
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    dev = [json.loads(line) for line in (folder / "dev.jsonl").read_text().splitlines()]
    assert metrics["answers"] == 6 * len(PROMPTS)
    assert [len(pairs), len(dev)] == [metrics["pairs"], metrics["dev_pairs"]]
    assert pairs
    assert dev
    assert all(pair["chosen_score"] > pair["rejected_score"] for pair in pairs + dev)
    assert all(len(pair["chosen"][0]["content"]) < len(pair["rejected"][0]["content"]) for pair in pairs)
    asked = [{pair["prompt"][0]["content"] for pair in rows} for rows in (pairs, dev)]
    assert not asked[0] & asked[1]


def test_answers_that_were_not_sampled_are_marked_and_counted(root):
    asked = [json.loads(line) for line in (root / "prompts.jsonl").read_text().splitlines()]
    write_rows(root / "with_candidates.jsonl", [{**row, "candidates": ["An answer that nobody sampled."]} for row in asked])
    settings = preferences.PreferenceSettings(
        prompts=("with_candidates.jsonl",), labeller=LABELLER, samples=3, temperature=2.0, max_new_tokens=6,
        use_candidates=True, pairs_per_prompt=4, dev_share=0.0,
    )  # fmt: skip
    metrics = run_stage(preferences.STAGE, settings, root, "with-candidates")
    folder = root / "with-candidates"
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    assert [[answer["added"] for answer in row["answers"]] for row in samples] == [[False] * 3 + [True]] * len(PROMPTS)
    assert (metrics["answers"], metrics["answers_added"]) == (4 * len(PROMPTS), len(PROMPTS))
    for pair in pairs:
        for side in ("chosen", "rejected"):
            assert pair[f"{side}_added"] == (pair[side][0]["content"] == "An answer that nobody sampled.")
    assert metrics["pairs_with_added"] == sum(pair["chosen_added"] or pair["rejected_added"] for pair in pairs) > 0


def labelled(*rows):
    return [preferences.Labelled(text, score, verdict) for text, score, verdict in rows]


def test_rare_contrasts_are_paired_first():
    import numpy as np

    answers = labelled(*[(f"w{n}", -1.0, "wrong") for n in range(9)], ("a", 0.0, "abstained"), ("r", 1.0, "correct"))
    for seed in range(5):
        pairs = preferences.choose_pairs(answers, 3, np.random.default_rng(seed))
        kinds = {(better.verdict, worse.verdict) for better, worse in pairs}
        assert kinds == {("correct", "wrong"), ("correct", "abstained"), ("abstained", "wrong")}
    assert preferences.choose_pairs(labelled(("a", 1, "x"), ("b", 1, "x"), ("a", 1, "x")), 3, np.random.default_rng(0)) == []


def test_balance_evens_out_the_verdicts_listed():
    import numpy as np

    pairs = [{"chosen_verdict": verdict, "n": n} for n, verdict in enumerate(["a"] * 50 + ["c"] * 10 + ["r"] * 30)]
    kept = preferences.balance_pairs(pairs, ("a", "c"), 1.5, np.random.default_rng(0))
    counts = {verdict: sum(pair["chosen_verdict"] == verdict for pair in kept) for verdict in "acr"}
    assert counts == {"a": 15, "c": 10, "r": 30}
    assert preferences.balance_pairs(pairs, (), 1.0, np.random.default_rng(0)) == pairs


def test_a_labeller_must_be_ours():
    from models.training.labels import find_function

    assert find_function(LABELLER)({}, "ab") == (-2.0, "2")
    for name in ("os:system", "models.training.labels", "models.training.labels:nothing", "models.nothing:label"):
        with pytest.raises(UserError, match="function"):
            find_function(name)


# --- reward ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rewarded(root):
    settings = reward.RewardSettings(pairs=("pairs.jsonl",), dev="pairs.jsonl", steps=25, batch_size=8, lr=5e-3, **FAST)
    return run_stage(reward.STAGE, settings, root)


def test_a_reward_model_learns_and_starts_at_chance(root, rewarded):
    journal = reward.RewardSettings(pairs=("pairs.jsonl",), steps=1, batch_size=24, lr=1e-9, centring=0.0, **FAST)
    first = run_stage(reward.STAGE, journal, root, "reward-first")
    assert first["loss"] == pytest.approx(math.log(2), abs=0.35)
    assert rewarded["eval_accuracy"] == 1.0
    assert rewarded["eval_loss"] < 0.2


def test_rewards_of_good_answers_are_centred(root, rewarded, texts):
    from models.training.forward import scores
    from models.training.pairs import pair_batch, pair_documents

    model = open_reward(root / "reward/checkpoint").eval()
    assert type(model).__name__ == "LlamaForSequenceClassification"
    batch = pair_batch(pair_documents(texts, PAIRS, 256)[0], 64, texts.pad)
    with torch.no_grad():
        chosen = scores(model, batch.packed)[batch.chosen] - model.config.reward_shift
    assert abs(chosen.mean().item()) < 1e-3
    assert model.config.reward_shift == pytest.approx(rewarded["reward_shift"])


def test_the_score_is_read_at_the_last_real_token(root, rewarded, texts):
    """Same text, any padding id and side, alone or in a batch: one score, and transformers' own where it is right."""
    from models.training.forward import scores

    model = open_reward(root / "reward/checkpoint").eval()
    documents = texts.chats([row["messages"] for row in TALK[:8]]) + texts.documents(["Name1 lies in Tarn."] * 2, 64)
    want = []
    with torch.no_grad():
        for one in documents:
            ids = torch.as_tensor(one.ids)[None]
            want.append(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.item())
        for pad in (0, 1, texts.end, 7):
            for count in (1, 10):
                batch, order = pack_batch(documents[:count], 40, pad)
                got = scores(model, batch)[torch.as_tensor(order)].tolist()
                assert got == pytest.approx(want[:count], abs=1e-5)
        longest = max(len(one.ids) for one in documents)
        for left in (True, False):
            ids, mask = (torch.full((10, longest), value) for value in (texts.pad, 0))
            for at, one in enumerate(documents):
                place = slice(longest - len(one.ids), longest) if left else slice(0, len(one.ids))
                ids[at, place], mask[at, place] = torch.as_tensor(one.ids), 1
            positions = (mask.cumsum(-1) - 1).clamp_min(0)
            theirs = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits[:, 0].tolist()
            assert theirs == pytest.approx(want, abs=1e-5)


def test_pairs_that_are_too_long_are_dropped_and_counted(root):
    settings = reward.RewardSettings(pairs=("long.jsonl",), steps=1, max_length=40, **FAST)
    long = {**PAIRS[0], "rejected": [{"role": "assistant", "content": "no " * 60}]}
    write_rows(root / "long.jsonl", [*PAIRS[:3], long])
    assert run_stage(reward.STAGE, settings, root, "reward-long")["pairs_dropped"] == 1
    write_rows(root / "long.jsonl", [long])
    with pytest.raises(UserError, match="max_length 40"):
        run_stage(reward.STAGE, settings, root, "reward-long")
    write_rows(root / "long.jsonl", [{"prompt": "a", "chosen": "b"}])
    with pytest.raises(UserError, match="lacks chosen or rejected"):
        run_stage(reward.STAGE, settings, root, "reward-long")


# --- DPO -------------------------------------------------------------------------------------------------------------


def test_dpo_starts_at_ln_2_and_leaves_the_reference_alone(root, texts):
    pairs = ppo_free_pairs(texts)
    model, reference = open_causal(root / "sft/checkpoint"), open_causal(root / "sft/checkpoint")
    before = {name: value.clone() for name, value in reference.named_parameters()}
    settings = dpo.DpoSettings(pairs=("pairs.jsonl",), steps=20, batch_size=8, lr=2e-3, **FAST)
    task = dpo.DpoTask(model, reference, pairs, pairs, settings, texts.pad)
    loss, metrics = task.loss(task.batches(0)[0])
    assert loss.item() / 8 == pytest.approx(math.log(2), abs=1e-7)
    assert metrics["rewards/margins"] == 0.0
    learned = run_stage(dpo.STAGE, replace(settings, dev="pairs.jsonl"), root)
    assert learned["eval_loss"] < 0.5
    assert learned["eval_rewards/accuracies"] == 1.0
    assert all(torch.equal(value, before[name]) for name, value in reference.named_parameters())


def ppo_free_pairs(texts):
    from models.training.pairs import pair_documents

    return pair_documents(texts, PAIRS, 256)[0]


def test_dpo_sums_over_the_completion_only(root, texts):
    """The log-probability of a completion is the sum over its tokens, prompt left out, end token included."""
    from models.training.forward import sum_by_document, target_logprobs

    model = open_causal(root / "sft/checkpoint").eval()
    (prompt,), (answer,) = texts.prompts([conversation(5)]), texts.answers(["In Velm."])
    packed, _ = pack_batch([answer_document(prompt, answer)], 64, texts.pad)
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        logp = model(input_ids=ids).logits[0].log_softmax(-1)
        ours = sum_by_document(target_logprobs(model, packed), packed).item()
    want = sum(logp[at - 1, ids[0, at]].item() for at in range(len(prompt), ids.shape[1]))
    assert ours == pytest.approx(want, abs=1e-5)
    assert len(packed.target) == len(answer)


# --- PPO -------------------------------------------------------------------------------------------------------------

PPO = ppo.PpoSettings(
    prompts=("prompts.jsonl",), rollouts=3, rollout_size=16, passes=2, minibatch=8, max_new_tokens=6, lr=1e-3,
    judge=LABELLER, replay=("texts.jsonl",), replay_rows=4, **FAST,
)  # fmt: skip


def ppo_events(root, settings=PPO, name="ppo", resume=False):
    return list(ppo.STAGE.run(settings, workspace(root, name, resume=resume)))


@pytest.fixture(scope="module")
def trained(root, rewarded):
    return [event for event in ppo_events(root) if isinstance(event, Metrics)]


def test_the_first_updates_see_a_ratio_of_exactly_one(trained):
    rollout, first, second = trained[0].values, trained[1].values, trained[2].values
    assert rollout["objective/kl"] == 0.0
    for update in (first,):
        assert update["val/ratio"] == 1.0
        assert update["policy/approxkl_avg"] == 0.0
        assert update["policy/clipfrac_avg"] == 0.0
        assert update["val/ratio_var"] == 0.0
    assert second["val/ratio"] != 1.0


def test_ppo_logs_what_is_needed_to_tell_a_bad_reward_from_bad_settings(trained):
    wanted = {"objective/kl", "objective/entropy", "objective/scores", "objective/rlhf_reward", "val/length", "val/eos_rate"}
    assert wanted <= set(trained[0].values)
    assert {"judge/score", "judge/agreement"} <= set(trained[0].values)
    assert any(name.startswith("verdict/known: ") for name in trained[0].values)
    updates = {"loss/policy_avg", "loss/value_avg", "policy/clipfrac_avg", "policy/approxkl_avg", "val/ratio_var", "loss/replay"}
    assert updates <= set(trained[1].values)
    assert 0 < trained[0].values["val/eos_rate"] <= 1
    assert sum("objective/kl" in event.values for event in trained) == 3
    assert trained[-1].step == 12


def test_the_rlhf_reward_is_score_minus_priced_kl(trained):
    for event in trained:
        if "objective/kl" in event.values:
            seen = event.values
            assert seen["objective/rlhf_reward"] == pytest.approx(
                seen["objective/paid"] + seen["objective/non_score_reward"], abs=1e-5
            )
            assert seen["objective/non_score_reward"] == pytest.approx(-PPO.kl * seen["objective/kl"], abs=1e-6)
            assert seen["objective/kl"] >= -3 * seen["objective/kl_se"]


@pytest.fixture(scope="module")
def whole_ppo(root, trained):
    settings = replace(PPO, kl_target=0.01)
    return settings, [event for event in ppo_events(root, settings, "ppo-whole") if isinstance(event, Metrics)]


@pytest.mark.parametrize(
    ("step", "name"), [(4, "loss"), (5, "loss"), (4, "objective/kl")], ids=["used up", "half used", "just sampled"]
)
def test_ppo_resumes_bit_identically_wherever_it_was_stopped(root, whole_ppo, step, name):
    settings, whole = whole_ppo
    folder = f"ppo-cut-{step}-{name[:4]}"
    work = ppo.STAGE.run(settings, workspace(root, folder))
    seen = []
    for event in work:
        if isinstance(event, Metrics):
            seen.append(event)
            if event.step == step and name in event.values:
                break
    work.close()
    rest = [event for event in ppo_events(root, settings, folder, resume=True) if isinstance(event, Metrics)]
    assert rest[0].step in (step, step + 1)

    def pure(events):
        return [{key: value for key, value in event.values.items() if key != "targets_per_second"} for event in events]

    assert repr(pure(seen + rest)) == repr(pure(whole))
    betas = [event.values["objective/beta"] for event in whole if "objective/beta" in event.values]
    assert len(set(betas)) > 1


def test_logged_kl_and_reward_match_enumeration():
    """5.2.2: two-token answers, all enumerable: the sampled estimates lie within their standard errors."""
    from models.training.losses import kl_k1

    policy = new_llama(replace(SHAPE, init_std=0.3), 4, (1, 2, 0), seed=1).eval()
    reference = new_llama(replace(SHAPE, init_std=0.3), 4, (1, 2, 0), seed=2).eval()
    pay = torch.tensor([0.0, 1.0, 2.0, 3.0])
    exact_kl = exact_reward = 0.0
    with torch.no_grad():
        for pair in itertools.product(range(4), repeat=2):
            ids = torch.tensor([[1, *pair]])
            logs = [model(input_ids=ids).logits[0].log_softmax(-1) for model in (policy, reference)]
            logp, logr = (float(log[0, pair[0]] + log[1, pair[1]]) for log in logs)
            exact_kl += math.exp(logp) * (logp - logr)
            exact_reward += math.exp(logp) * float(pay[pair[0]] + pay[pair[1]])
    answers = finish(sample_answers(policy, [[1]] * 3000, -1, Sampling(2), [3]))
    documents = [answer_document([1], answer.ids) for answer in answers]
    from models.training.forward import sum_by_document, target_logprobs

    packed, _ = pack_batch(documents, 3, 0)
    with torch.no_grad():
        kl = sum_by_document(kl_k1(target_logprobs(policy, packed), target_logprobs(reference, packed)), packed)
    rewards = torch.tensor([float(pay[answer.ids[0]] + pay[answer.ids[1]]) for answer in answers])
    assert exact_kl > 0.01
    assert abs(kl.mean().item() - exact_kl) < 4 * kl.std().item() / math.sqrt(3000)
    assert abs(rewards.mean().item() - exact_reward) < 4 * rewards.std().item() / math.sqrt(3000)


class Rule:
    """Stands for Texts where only ids matter."""


def test_an_answer_that_never_ends_is_paid_less(root, rewarded, texts):
    from models.training.rollouts import score_answers

    model = open_reward(root / "reward/checkpoint").eval()
    (prompt,) = texts.prompts([conversation(0)])
    documents = [answer_document(prompt, (40, 41)), answer_document(prompt, (40, 41))]
    answers = [Answer((40, 41), True), Answer((40, 41), False)]
    scored = score_answers(model, documents, answers, replace(PPO, eos_penalty=2.5), texts.pad)
    assert scored.learned[0].item() == pytest.approx(scored.learned[1].item(), abs=1e-6)
    assert (scored.paid[0] - scored.paid[1]).item() == pytest.approx(2.5, abs=1e-6)
    clipped = score_answers(model, documents, answers, replace(PPO, eos_penalty=0.0, reward_clip=0.01), texts.pad)
    assert clipped.paid.abs().max().item() <= 0.01 + 1e-9


def test_agreement_counts_pairs_the_judge_tells_apart():
    from models.training.rollouts import agreement

    assert agreement(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, 0.0, -1.0])) == 1.0
    assert agreement(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, -1.0])) == 0.0
    assert agreement(torch.tensor([1.0, 1.0, 5.0]), torch.tensor([1.0, 0.0, 0.0])) == pytest.approx(0.25)
    assert math.isnan(agreement(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])))


def test_ppo_on_a_rule_learns_it(root):
    """Short answers are paid: without a reward model, with a rule of ours, the mean score rises and KL with it."""
    settings = replace(
        PPO, reward_model="", rule=LABELLER, rule_weight=0.3, rollouts=12, rollout_size=32, minibatch=16, lr=5e-3, kl=0.01,
        replay=(), judge="", temperature=1.0,
    )  # fmt: skip
    seen = [e.values for e in ppo_events(root, settings, "ppo-rule") if isinstance(e, Metrics) and "judge/score" in e.values]
    first, last = (sum(v["judge/score"] for v in part) / 2 for part in (seen[:2], seen[-2:]))
    assert last > first + 1
    assert seen[-1]["objective/kl"] > 0


def test_a_higher_price_of_kl_ends_nearer_to_the_reference(root):
    ends = []
    for price in (0.0, 2.0):
        settings = replace(
            PPO, reward_model="", rule=LABELLER, rule_weight=0.3, rollouts=10, rollout_size=32, minibatch=16, lr=5e-3, kl=price,
            replay=(), judge="",
        )  # fmt: skip
        seen = [e.values for e in ppo_events(root, settings, f"ppo-kl-{price}") if isinstance(e, Metrics)]
        ends.append([values["objective/kl"] for values in seen if "objective/kl" in values][-1])
    assert ends[1] < ends[0]


def test_dropout_is_off_in_rl(root):
    from models.training.llama import without_dropout

    model = without_dropout(new_llama(replace(SHAPE, dropout=0.5), 20, (1, 2, 0), seed=0)).train()
    ids = torch.tensor([[1, 3, 4, 5]])
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_spread_and_gather_are_inverse():
    from models.training.rollouts import gather, spread

    documents = [answer_document([1, 2], range(3, 3 + length)) for length in (4, 1, 3)]
    packed, order = pack_batch(documents, 7, 0)
    flat = torch.arange(len(packed.target), dtype=torch.float32)
    table = spread(flat, packed, order, 4)
    assert [int((row > 0).sum() + (row[0] == 0) * 0) for row in table][1] <= 1
    assert torch.equal(gather(table, packed, order), flat)
    ids = spread(packed.target.float(), packed, order, 4)
    assert ids.tolist() == [[3, 4, 5, 6], [3, 0, 0, 0], [3, 4, 5, 0]]


# --- interpolation ---------------------------------------------------------------------------------------------------


def test_interpolation_is_linear_and_keeps_its_limits(root, trained):
    settings = interpolate.InterpolateSettings(
        checkpoint="ppo", parent="sft", alphas=(0.0, 0.5, 1.0), prompts=("prompts.jsonl",), labeller=LABELLER, dtype="fp32",
        max_new_tokens=6,
    )  # fmt: skip
    metrics = run_stage(interpolate.STAGE, settings, root, "mixed")
    curve = json.loads((root / "mixed/curve.json").read_text())
    assert [point["alpha"] for point in curve["points"]] == [0.0, 0.5, 1.0]
    weights = [
        dict(open_causal(root / name / "checkpoint").named_parameters())["model.norm.weight"] for name in ("sft", "ppo", "mixed")
    ]
    assert torch.allclose(weights[2], torch.lerp(weights[0], weights[1], metrics["alpha"]), atol=1e-7)
    manifest = json.loads((root / "mixed/checkpoint/manifest.json").read_text())
    assert manifest["parents"] == {"parent": "sft", "checkpoint": "ppo"}


def point(alpha, objective, *limits):
    return interpolate.Point(alpha, objective, limits, 0.0, {})


def test_the_lowest_rate_within_the_limits_is_chosen():
    limits = [interpolate.Limit(at_most=0.12)]
    points = [point(0.2, 0.7, 0.05), point(0.5, 0.4, 0.11), point(0.7, 0.2, 0.2), point(0.6, 0.4, 0.12)]
    assert interpolate.choose_point(points, limits) == (points[1], True)
    assert interpolate.choose_point([*points[2:3], point(0.9, 0.1, 0.3)], limits) == (points[2], False)


def test_limits_that_speak_of_nothing_are_refused():
    with pytest.raises(UserError, match=r"item\.type 'known'"):
        interpolate.rate(interpolate.Limit("item.type", "known", "wrong"), [{"item": {"type": "unknown"}}], ["wrong"])
    assert issubclass(ppo.PpoSettings, TrainSettings)
