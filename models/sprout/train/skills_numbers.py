"""Skills about numbers. Each function draws one question with its one right answer; none keeps state."""

from example import Example, join_list


def add(rng):
    a, b = rng.randint(0, 99), rng.randint(0, 99)
    thing = rng.choice(["apples", "coins", "books", "stones"])
    prompt = rng.choice([
        f"What is {a} + {b}?", f"{a} + {b}", f"{a}+{b}", f"{a} + {b} = ?", f"Add {a} and {b}.",
        f"What is {a} plus {b}?", f"What is the sum of {a} and {b}?", f"How much is {a} + {b}?",
        f"Please add {a} and {b}.", f"I have {a} {thing} and get {b} more. How many do I have?",
    ])
    return Example("add", prompt, f"{a} + {b} = {a + b}.", key=(min(a, b), max(a, b)))


def subtract(rng):
    b, a = sorted((rng.randint(0, 99), rng.randint(0, 99)))
    thing = rng.choice(["apples", "coins", "books", "stones"])
    prompt = rng.choice([
        f"What is {a} - {b}?", f"{a} - {b}", f"{a}-{b}", f"{a} - {b} = ?", f"Subtract {b} from {a}.",
        f"What is {a} minus {b}?", f"Take {b} away from {a}.", f"How much is {a} - {b}?",
        f"I have {a} {thing} and give {b} away. How many are left?",
    ])
    return Example("subtract", prompt, f"{a} - {b} = {a - b}.", key=(a, b))


def multiply(rng):
    a, b = rng.randint(0, 10), rng.randint(0, 10)
    sign = rng.choice(["x", "*"])
    prompt = rng.choice([
        f"What is {a} {sign} {b}?", f"{a} {sign} {b}", f"What is {a} times {b}?", f"Multiply {a} by {b}.",
        f"How much is {a} times {b}?", f"Please multiply {a} by {b}.", f"{a} times {b}",
    ])
    return Example("multiply", prompt, f"{a} x {b} = {a * b}.")


def compare(rng):
    a, b = rng.sample(rng.choice([range(10, 100), range(10, 100), range(100, 1000)]), 2)
    more = rng.random() < 0.5
    word = rng.choice(["larger", "bigger", "greater"]) if more else rng.choice(["smaller", "lower", "less"])
    prompt = rng.choice([
        f"Which is {word}, {a} or {b}?", f"Which number is {word}: {a} or {b}?", f"What is {word}, {a} or {b}?",
        f"Compare {a} and {b}. Which is {word}?",
    ])
    first, second = (max(a, b), min(a, b)) if more else (min(a, b), max(a, b))
    return Example("compare", prompt, f"{first} is {word} than {second}.", key=(min(a, b), max(a, b)))


def sort_numbers(rng):
    numbers = rng.sample(range(10, 100), rng.choice([3, 3, 3, 4]))
    text = join_list(rng, [str(n) for n in numbers])
    down = rng.random() < 0.3
    if down:
        prompt = rng.choice([
            f"Sort these numbers from largest to smallest: {text}", f"Order {text} from high to low.",
            f"Sort from largest to smallest: {text}",
        ])
    else:
        prompt = rng.choice([
            f"Sort these numbers: {text}", f"Sort the numbers {text}.", f"Put these numbers in order: {text}",
            f"Order these numbers from smallest to largest: {text}", f"Please sort {text}.", f"Sort {text}",
        ])
    answer = ", ".join(str(n) for n in sorted(numbers, reverse=down))
    return Example("sort_numbers", prompt, answer + ".", key=tuple(sorted(numbers)))


def largest(rng):
    numbers = rng.sample(range(10, 100), rng.choice([3, 4]))
    more = rng.random() < 0.5
    word = rng.choice(["largest", "biggest"]) if more else "smallest"
    text = join_list(rng, [str(n) for n in numbers])
    prompt = rng.choice([
        f"What is the {word} of {text}?", f"Which number is the {word}: {text}?", f"Find the {word} number: {text}",
    ])
    value = max(numbers) if more else min(numbers)
    return Example("largest", prompt, f"The {word} number is {value}.", key=tuple(sorted(numbers)))


def parity(rng):
    n = rng.randint(0, 999)
    prompt = rng.choice([
        f"Is {n} even or odd?", f"Is the number {n} odd or even?", f"Even or odd: {n}", f"Is {n} odd or even?",
    ])
    return Example("parity", prompt, f"{n} is {'odd' if n % 2 else 'even'}.", key=n)


def count_up(rng):
    start = rng.randint(0, 90)
    stop = start + rng.randint(3, 9)
    if rng.random() < 0.3:
        start, stop = stop, start
    prompt = rng.choice([
        f"Count from {start} to {stop}.", f"Please count from {start} to {stop}.", f"Can you count from {start} to {stop}?",
        f"Write the numbers from {start} to {stop}.",
    ])
    step = 1 if stop >= start else -1
    numbers = range(start, stop + step, step)
    return Example("count_up", prompt, ", ".join(str(n) for n in numbers) + ".", key=(start, stop))


# How often each skill is drawn: early in a run, and late, when what is still hard counts more.
SKILLS = {add: (3.0, 5.0), subtract: (3.0, 5.5), multiply: (1.2, 0.8), compare: (1.5, 2.0), sort_numbers: (2.5, 5.5),
          largest: (1.2, 2.5), parity: (0.5, 0.2), count_up: (1.0, 2.0)}
