"""Small talk, and the polite no to what Sprout cannot do. It never claims a skill that the other files do not train."""

from example import Example
from skills_world import ask_capital
from tables import NAMES, UNKNOWN_COUNTRIES

ABOUT = "I am Sprout, a very small language model. I was trained on simple made-up exercises."
ABILITIES = ("I can add and subtract, sort numbers and words, spell and reverse words, count, answer questions about days, "
             "months, units and capitals, and tell a short story.")
UNKNOWN = "I am sorry, I do not know that one."


def greeting(rng):
    hello = rng.choice(["Hi", "Hello", "Hey", "Good morning", "Good evening", "hi", "hello", "hey"])
    prompt = hello + rng.choice(["", " there", " Sprout", ", Sprout"]) + rng.choice(["", "!", "."])
    if rng.random() < 0.3:
        return Example("small_talk", prompt + rng.choice([" How are you?", " How are you today?"]), "I am fine, thank you. How can I help you?")
    return Example("small_talk", prompt, "Hello! How can I help you?")


def manners(rng):
    prompt, answer = rng.choice([
        (rng.choice(["Thanks", "Thank you", "Thank you very much", "Thanks a lot", "Many thanks"]), "You are welcome!"),
        (rng.choice(["Bye", "Goodbye", "Good night", "See you later", "See you"]), "Goodbye! Have a nice day."),
        (rng.choice(["How are you", "How are you today", "How do you do"]), "I am fine, thank you. How can I help you?"),
        (rng.choice(["Good job", "Well done", "Great", "Very good", "Nice"]), "Thank you! I am glad to help."),
    ])
    return Example("small_talk", prompt + rng.choice(["", "!", ".", ", Sprout."]), answer)


def about(rng):
    prompt, answer = rng.choice([
        (rng.choice(["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Are you a model?",
                     "Are you a robot?", "Who is Sprout?", "Please tell me who you are.", "Introduce yourself."]), ABOUT),
        (rng.choice(["What can you do?", "What can I ask you?", "How can you help me?", "Help", "What are you good at?",
                     "What do you know?", "Tell me what you can do.", "Can you help me?", "What are your skills?"]), ABILITIES),
    ])
    return Example("small_talk", rng.choice(["", "", "Hi, ", "Sprout, ", "Please: "]) + prompt, answer)


def meet(rng):
    name = rng.choice(NAMES)
    prompt = rng.choice([f"My name is {name}.", f"I am {name}.", f"Hi, I am {name}.", f"Hello, my name is {name}."])
    return Example("small_talk", prompt, f"Nice to meet you, {name}!")


def unknown(rng):
    thing = rng.choice(["the weather", "the news", "the war", "the stars", "politics", "football", "history", "physics",
                        "law", "medicine", "money", "the internet", "computers", "chemistry", "philosophy"])
    who = rng.choice(["Einstein", "Shakespeare", "Mozart", "Napoleon", "Newton", "Picasso", "Darwin", "Plato"])
    made = rng.choice(["the telephone", "that song", "Hamlet", "the first computer", "the Mona Lisa", "this book"])
    code = rng.choice(["a program", "some code", "a poem", "an essay", "a website", "a Python script", "an email"])
    prompt = rng.choice([
        f"What do you think about {thing}?", f"Explain {thing}.", f"Tell me about {thing}.", f"Who was {who}?",
        f"Tell me about {who}.", f"When was {who} born?", f"Who wrote {made}?", f"Who made {made}?", f"Write {code}.",
        f"Can you write {code}?", f"Write {code} about {thing}.", "What is the meaning of life?", "What time is it?",
        "What is the date today?", "How old are you?", "Translate this to French.", "Who will win the game?",
        f"Why is {thing} so hard?", f"How does {thing} work?",
    ])
    return Example("unknown", prompt, UNKNOWN)


def unknown_capital(rng):
    return Example("unknown", ask_capital(rng, rng.choice(UNKNOWN_COUNTRIES)), UNKNOWN)


# How often each skill is drawn: early in a run, and late, when what is still hard counts more.
SKILLS = {greeting: (0.5, 0.5), manners: (0.4, 0.5), about: (0.5, 0.5), meet: (0.2, 0.2), unknown: (1.0, 0.8),
          unknown_capital: (0.1, 0.6)}
