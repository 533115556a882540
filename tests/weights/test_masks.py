"""Random masks: the right rate, and dependent on nothing but their key."""

import math

import pytest
import torch

from fusion_bench.weights.masks import bernoulli_mask, key_of, limit_of


def mask(count=1000, density=0.5, seed=0, expert="mnist", tensor="w", start=0):
    return bernoulli_mask(count, density, seed=seed, expert=expert, tensor=tensor, start=start)


def philox(counter, key):
    """Philox 4x32-10 as its paper writes it, in whole numbers."""
    x, k, full = list(counter), list(key), 2**32
    for _ in range(10):
        p, q = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [q // full ^ x[1] ^ k[0], q % full, p // full ^ x[3] ^ k[1], p % full]
        k = [(k[0] + 0x9E3779B9) % full, (k[1] + 0xBB67AE85) % full]
    return x


def draw(entry, key):
    """The 32 bits that decide on an entry, by the definition."""
    group, byte = divmod(entry, 1024)
    word, lane = divmod(byte // 4, 64)
    upper = philox([64 * group + lane, 0, key[2], key[3]], key[:2])[word] >> 8 * (byte % 4) & 0xFF
    return upper << 24 | philox([entry, 0, key[2], key[3] ^ 1], key[:2])[0] & 0xFFFFFF


def test_the_reference_gives_the_published_numbers():
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
    assert philox(pi[:4], pi[4:]) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.parametrize("density", [0.5, 0.2, 0.003, 1 / 256, 1 - 2**-32])
def test_every_entry_is_decided_by_its_own_draw(density):
    key = [int(number) for number in key_of(0, "mnist", "w")]
    expected = [draw(entry, key) < limit_of(density) for entry in range(1000, 5000)]
    assert mask(4000, density, start=1000).tolist() == expected


def test_a_density_between_two_bytes_is_met():
    """A share of 0.0001 is decided by the lower bits alone."""
    n = 2_000_000
    assert abs(int(mask(n, 1e-4).sum()) - 200) < 4 * math.sqrt(200)


@pytest.mark.parametrize("density", [0.01, 0.1, 0.5, 0.9])
def test_rate_is_within_four_sigma(density):
    n = 200_000
    kept = int(mask(n, density).sum())
    assert abs(kept - n * density) < 4 * math.sqrt(n * density * (1 - density))


def test_neighbours_are_independent():
    m = mask(200_000, 0.3).double() - 0.3
    correlation = float((m[1:] * m[:-1]).mean() / 0.21)
    assert abs(correlation) < 4 / math.sqrt(200_000)


@pytest.mark.parametrize("other", [{"seed": 1}, {"expert": "svhn"}, {"tensor": "v"}])
def test_each_part_of_the_key_gives_an_independent_mask(other):
    n = 100_000
    agree = int((mask(n) == mask(n, **other)).sum())
    assert abs(agree - n / 2) < 4 * math.sqrt(n / 4)


def test_key_parts_do_not_run_together():
    assert not torch.equal(mask(expert="ab", tensor="c"), mask(expert="a", tensor="bc"))


@pytest.mark.parametrize("start", [0, 1, 3, 4, 7, 500, 999])
def test_any_chunk_equals_that_part_of_the_whole(start):
    assert torch.equal(mask(1000 - start, start=start), mask(1000)[start:])


def test_a_smaller_density_keeps_a_subset():
    sparse, dense = mask(density=0.2), mask(density=0.6)
    assert not (sparse & ~dense).any()


def test_ends():
    assert mask(density=1.0).all()
    assert not mask(density=0.0).any()
    assert mask(0).shape == (0,)


def test_global_generators_are_neither_read_nor_moved():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = mask()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(mask(), first)


def test_the_stream_is_fixed_for_good():
    """Results recorded today must be reproducible: these bits may only change with a note in the changelog."""
    assert mask(16).int().tolist() == [0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0]
