"""The closed tables Sprout learns by heart: words, names, facts, units. No logic lives here."""

# Words that letter-level skills speak about. The tokenizer always spells them letter by letter.
WORDS = """
acorn actor alarm amber angel ant apple apron arrow atlas axe baby badge bag baker ball banana band bank
barn basket bat bath beach bead bean bear bed bee beet bell belt bench berry bike bird blanket board boat
bone book boot bottle bowl box bread brick bridge broom brush bubble bucket bus bush button cabin cabbage
cable cactus cake camel camp candle candy cap car card carpet carrot cart castle cat cave chain chair chalk
cheese cherry chess chest chick circle city clay cliff clock cloth cloud clover coal coat coin comb cookie
coral cork corn cotton cow crab cradle crane crayon cream crow crown cube cup curtain daisy deer desk dice
dinner dish doctor dog doll donkey door dove dragon drawer dream dress drum duck eagle ear earth egg elbow
engine fan farm farmer feather fence fern field fig finger fire fish flag flame flour flower flute fog foot
forest fork fox frog fruit garden garlic gate ghost gift giraffe glass glove glue goat gold goose grape
grass guitar hammer hand harbor hat hawk heart hello hen hill honey hook horn horse hotel house ice igloo
ink iron island ivy jacket jam jar jewel jug juice kettle key king kite kitten knee knife knot ladder lake
lamb lamp lantern leaf leg lemon lily lime lion lizard lock log maple map marble market mask meadow melon
milk mint mirror mitten monkey moon moss moth motor mouse mug music nail napkin neck needle nest net nose
note nut oak oar oasis oat ocean olive onion orange orchid otter oven owl paddle page paint palm panda paper
park parrot pasta path peach peanut pear pearl pebble pen pencil pepper piano picnic pie pig pigeon pillow
pilot pine pipe pizza planet plant plate plum pocket pond pony pool poppy potato pot puddle pumpkin puppet
puppy queen quilt rabbit radio rain raven ribbon rice ring river road robin robot rocket roof room root rope
rose ruler sail salad salt sand scarf school seal seed shark sheep shelf shell ship shirt shoe shovel silk
silver skate sky sled snail snake snow soap sock sofa soup spider sponge spoon spring squid stable star
steam stone stool storm stove straw street sugar summer sun swan table tail tea teapot temple tent thread
tiger timber toast toe tomato torch towel tower toy train tray tree truck trumpet tulip tunnel turtle valley
van vase velvet village violin wagon wall walnut wasp watch water wave whale wheat wheel whistle willow wind
window wing winter wolf wood wool worm yard yarn zebra
""".split()

ANIMALS = "bear bee camel cat cow crab deer dog donkey duck eagle fox frog goat hen horse kitten lamb lion mouse otter owl panda pig pony puppy rabbit robin sheep snail swan tiger turtle whale wolf zebra".split()
FRUITS = "apple banana cherry fig grape lemon lime melon olive orange peach pear plum tomato".split()
OBJECTS = "ball bell book box coin cup flag hat key kite lamp map pen ring rope shell spoon stone toy".split()
HOLDERS = "bag basket box bucket drawer jar pocket".split()
PLACES = "barn beach cabin cave field forest garden market park river school tower village".split()

NAMES = """Anna Ben Carl Dora Emma Finn Gina Hugo Iris Jack Kate Leo Mia Nina Omar Paul Rosa Ruby Sam Tara Theo
Vera Will Zoe""".split()

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

CAPITALS = {
    "Argentina": "Buenos Aires", "Australia": "Canberra", "Austria": "Vienna", "Belgium": "Brussels",
    "Brazil": "Brasilia", "Canada": "Ottawa", "Chile": "Santiago", "China": "Beijing", "Cuba": "Havana",
    "Denmark": "Copenhagen", "Egypt": "Cairo", "Finland": "Helsinki", "France": "Paris", "Germany": "Berlin",
    "Greece": "Athens", "Hungary": "Budapest", "India": "New Delhi", "Iran": "Tehran", "Iraq": "Baghdad",
    "Ireland": "Dublin", "Italy": "Rome", "Japan": "Tokyo", "Kenya": "Nairobi", "Mexico": "Mexico City",
    "Norway": "Oslo", "Peru": "Lima", "Poland": "Warsaw", "Portugal": "Lisbon", "Russia": "Moscow",
    "Spain": "Madrid", "Sweden": "Stockholm", "Thailand": "Bangkok", "Turkey": "Ankara", "Vietnam": "Hanoi",
}
# Asked for in training only to learn the polite "I do not know that one".
UNKNOWN_COUNTRIES = "Albania Angola Bolivia Chad Ghana Haiti Iceland Laos Libya Malta Nepal Oman Qatar Serbia Sudan Togo".split()

OPPOSITES = [("hot", "cold"), ("big", "small"), ("up", "down"), ("left", "right"), ("day", "night"), ("old", "young"),
             ("fast", "slow"), ("open", "closed"), ("full", "empty"), ("light", "dark"), ("hard", "soft"),
             ("wet", "dry"), ("high", "low"), ("happy", "sad"), ("early", "late"), ("loud", "quiet"),
             ("strong", "weak"), ("rich", "poor"), ("thick", "thin"), ("near", "far"), ("clean", "dirty"),
             ("long", "short"), ("true", "false"), ("first", "last"), ("inside", "outside"), ("sweet", "sour")]

YOUNG = {"cat": "kitten", "dog": "puppy", "cow": "calf", "horse": "foal", "sheep": "lamb", "goat": "kid",
         "hen": "chick", "duck": "duckling", "bear": "cub", "deer": "fawn", "swan": "cygnet", "frog": "tadpole"}

COLOURS = {"grass": "green", "snow": "white", "coal": "black", "milk": "white", "banana": "yellow", "cherry": "red",
           "lemon": "yellow", "carrot": "orange", "tomato": "red", "salt": "white", "raven": "black",
           "blood": "red", "the sky on a clear day": "blue", "the sun": "yellow"}

# (one unit, the larger unit's plural, the smaller unit's plural, factor, largest count asked)
UNITS = [("hour", "hours", "minutes", 60, 12), ("minute", "minutes", "seconds", 60, 12), ("day", "days", "hours", 24, 7),
         ("week", "weeks", "days", 7, 12), ("year", "years", "months", 12, 10), ("meter", "meters", "centimeters", 100, 50),
         ("kilometer", "kilometers", "meters", 1000, 50), ("kilogram", "kilograms", "grams", 1000, 50),
         ("centimeter", "centimeters", "millimeters", 10, 50), ("liter", "liters", "milliliters", 1000, 50),
         ("foot", "feet", "inches", 12, 10), ("yard", "yards", "feet", 3, 12), ("dollar", "dollars", "cents", 100, 50),
         ("dozen", "dozen", "pieces", 12, 10)]

SYSTEM_PROMPTS = ["You are a helpful assistant.", "You are Sprout.", "You are Sprout, a small and friendly model.",
                  "Answer briefly.", "Be kind and short.", "You are a friendly assistant. Keep answers short.",
                  "Help the user.", "You are a helpful, honest assistant.", "You are an assistant on the Cactus network.",
                  "Answer the question."]
