"""Skills about the calendar, units, facts and small stories. Each function draws one question; none keeps state."""

from example import Example
from tables import (ANIMALS, CAPITALS, COLOURS, DAYS, HOLDERS, MONTHS, NAMES, OBJECTS, OPPOSITES, PLACES, UNITS, YOUNG)


def calendar(rng, skill, table, unit, longest):
    start, n = rng.randrange(len(table)), rng.randint(1, longest)
    forward = rng.random() < 0.65
    name, word = table[start], "after" if forward else "before"
    result = table[(start + (n if forward else -n)) % len(table)]
    units = unit if n == 1 else unit + "s"
    if n == 1 and rng.random() < 0.7:
        prompt = rng.choice([
            f"What {unit} comes {word} {name}?", f"Which {unit} is {word} {name}?", f"What is the {unit} {word} {name}?",
        ])
        return Example(skill, prompt, f"The {unit} {word} {name} is {result}.")
    prompt = rng.choice([
        f"What {unit} is {n} {units} {word} {name}?", f"Which {unit} comes {n} {units} {word} {name}?",
        f"What is {n} {units} {word} {name}?", f"Tell me the {unit} {n} {units} {word} {name}.",
        f"What {unit} comes {n} {units} {word} {name}?", f"{n} {units} {word} {name}",
    ])
    return Example(skill, prompt, f"{n} {units} {word} {name} is {result}.")


def days(rng):
    return calendar(rng, "days", DAYS, "day", 6)


def months(rng):
    return calendar(rng, "months", MONTHS, "month", 4)


def units(rng):
    one, large, small, factor, top = rng.choice(UNITS)
    n = rng.randint(1, top)
    name, verb = (one, "is") if n == 1 else (large, "are")
    prompt = rng.choice([
        f"How many {small} are in {n} {name}?", f"How many {small} are there in {n} {name}?", f"Convert {n} {name} to {small}.",
        f"What is {n} {name} in {small}?", f"{n} {name} in {small}", f"How many {small} is {n} {name}?",
    ])
    return Example("units", prompt, f"{n} {name} {verb} {n * factor} {small}.")


def ask_capital(rng, country):
    return rng.choice([
        f"What is the capital of {country}?", f"Name the capital of {country}.", f"Which city is the capital of {country}?",
        f"What is {country}'s capital?", f"Capital of {country}?", f"Tell me the capital of {country}.",
        f"Do you know the capital of {country}?", f"What city is the capital of {country}?",
    ])


def capital(rng):
    country, city = rng.choice(list(CAPITALS.items()))
    return Example("facts", ask_capital(rng, country), f"The capital of {country} is {city}.")


def opposite(rng):
    word, other = rng.choice(OPPOSITES)
    if rng.random() < 0.5:
        word, other = other, word
    prompt = rng.choice([
        f"What is the opposite of {word}?", f"Opposite of {word}?", f"Tell me the opposite of {word}.",
        f"Name the opposite of {word}.", f"Which word is the opposite of {word}?", f'What is the opposite of "{word}"?',
    ])
    return Example("facts", prompt, f"The opposite of {word} is {other}.")


def nature(rng):
    if rng.random() < 0.5:
        animal, young = rng.choice(list(YOUNG.items()))
        prompt = rng.choice([f"What is a young {animal} called?", f"What do you call a young {animal}?",
                             f"What is a baby {animal} called?", f"What do you call a baby {animal}?"])
        return Example("facts", prompt, f"A young {animal} is called a {young}.")
    thing, colour = rng.choice(list(COLOURS.items()))
    prompt = rng.choice([f"What color is {thing}?", f"What is the color of {thing}?", f"Which color is {thing}?",
                         f"Tell me the color of {thing}.", f"Do you know the color of {thing}?"])
    return Example("facts", prompt, f"The color of {thing} is {colour}.")


def who_has(rng):
    people = rng.sample(NAMES, rng.randint(2, 4))
    thing = rng.choice(OBJECTS)
    verb = rng.choice(["gives", "hands", "passes"])
    text = f"{people[0]} has the {thing}."
    for giver, taker in zip(people, people[1:]):
        text += rng.choice([f" {giver} {verb} the {thing} to {taker}.", f" {giver} {verb} it to {taker}."])
    prompt = text + " " + rng.choice([f"Who has the {thing}?", f"Who has the {thing} now?"])
    return Example("who_has", prompt, f"{people[-1]} has the {thing}.")


def where_is(rng):
    name, other = rng.sample(NAMES, 2)
    thing = rng.choice(OBJECTS)
    first_place, last_place = rng.sample([h for h in HOLDERS if h != thing], 2)
    place = rng.choice(PLACES)
    text, where = f"{name} puts the {thing} in the {first_place}.", first_place
    if rng.random() < 0.5:
        text += f" {other} moves the {thing} to the {last_place}."
        where = last_place
    if rng.random() < 0.4:
        text += f" Then {rng.choice([name, other])} goes to the {place}."
    return Example("where_is", f"{text} Where is the {thing}?", f"The {thing} is in the {where}.")


def recall_name(rng):
    name = rng.choice(NAMES)
    told = rng.choice([f"My name is {name}.", f"I am {name}.", f"Hi, I am {name}.", f"Hello, my name is {name}."])
    question = rng.choice(["What is my name?", "Do you know my name?", "Who am I?", "Tell me my name.", "Can you say my name?"])
    before = (("user", told), ("assistant", f"Nice to meet you, {name}!"))
    return Example("recall_name", question, f"Your name is {name}.", before=before)


def tell_story(rng):
    animal, name, friend = rng.choice(ANIMALS), *rng.sample(NAMES, 2)
    thing, place = rng.choice([o for o in OBJECTS if o != animal]), rng.choice(PLACES)
    article = "an" if animal[0] in "aeiou" else "a"
    named = rng.random() < 0.7
    about = f"{article} {animal} named {name}" if named else f"{article} {animal}"
    prompt = rng.choice([
        f"Tell me a story about {about}.", f"Write a short story about {about}.", f"Please tell a story about {about}.",
        f"Can you tell me a story about {about}?", f"A story about {about}, please.",
    ])
    middle = rng.choice([
        f"One day {name} found a {thing} at the {place}.", f"One morning {name} went to the {place} and found a {thing}.",
    ])
    end = rng.choice([
        f"{name} gave the {thing} to {friend}, and they were friends ever after.",
        f"{name} showed the {thing} to {friend}, and they played until night.",
    ])
    answer = f"Once there was {article} {animal} named {name}. {middle} {end}"
    expected = f"{animal} named {name}" if named else f"Once there was {article} {animal} named"
    return Example("tell_story", prompt, answer, check="contains", expected=expected)


# How often each skill is drawn: early in a run, and late, when what is still hard counts more.
SKILLS = {days: (1.2, 0.8), months: (1.2, 0.6), units: (1.5, 0.8), capital: (1.0, 1.8), opposite: (0.6, 1.8),
          nature: (0.5, 1.2), who_has: (1.5, 0.4), where_is: (1.2, 0.5), recall_name: (0.6, 0.2), tell_story: (0.8, 0.4)}
