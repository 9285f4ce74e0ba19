"""English text in words: a table of what is written and what is said."""

from __future__ import annotations

import pytest

from serve_app.core.normalise import normalise

NUMBERS = """
I have 3 apples. | I have three apples.
It took 21 days. | It took twenty-one days.
There were 105 of them. | There were one hundred and five of them.
1,000,000 ants | one million ants
12,345 steps | twelve thousand three hundred and forty-five steps
a tolerance of 1.000 | a tolerance of one point zero zero zero
Pi is 3.14159. | Pi is three point one four one five nine.
a factor of .5 | a factor of point five
0.05 of it | zero point zero five of it
Agent 007 | Agent zero zero seven
1000000 years | one million years
account 12345678 | account one two three four five six seven eight
100 000 people | one hundred thousand people
Beverly Hills, CA 90210 | Beverly Hills, CA nine zero two one zero
from -5 to +5 | from minus five to plus five
about ~100 | about about one hundred
5 ± 2 | five plus or minus two
1.2e-5 | one point two times ten to the power of minus five
the 1st, 2nd, 3rd and 21st | the first, second, third and twenty-first
the 112th Congress | the one hundred and twelfth Congress
pages 3-5 | pages three to five
chapters 1–3 | chapters one to three
a 3-2 win | a three to two win
a 16:9 screen | a sixteen to nine screen
1/2 | one half
3/4 of them | three quarters of them
2 1/2 cups | two and a half cups
2½ miles | two and a half miles
1/2 km | half a kilometre
⅔ of a cup | two thirds of a cup
open 24/7 | open twenty-four seven
a 50/50 chance | a fifty fifty chance
8/10 agree | eight out of ten agree
1.5.2 | one point five point two
v2.1.0 is out | version two point one point zero is out
Python 3.11.2 | Python three point eleven point two
at 127.0.0.1 | at one hundred and twenty-seven dot zero dot zero dot one
10x faster | ten times faster
a 3x4 grid | a three by four grid
1920×1080 | nineteen twenty by ten eighty
6 × 7 = 42 | six times seven equals forty-two
2 + 2 = 4 | two plus two equals four
2+2=4 | two plus two equals four
5 - 3 = 2 | five minus three equals two
10^6 | ten to the power of six
3 < 5 | three is less than five
x² + y² | x squared plus y squared
100+ guests | one hundred plus guests
E=mc² | E equals mc squared
x^2 - 1 | x squared - one
5/8 in. thick | five eighths of an inch thick
1/2 hr | half an hour
Boeing 747-400 | Boeing seven hundred and forty-seven four hundred
5×10³ | five times ten cubed
a 20-year-old | a twenty-year-old
5M users | five million users
５０％ of | fifty percent of
٣ | three
①②③ | one two three
₹1,00,000 | one hundred thousand rupees
12,34,000 ants | one million two hundred and thirty-four thousand ants
1.234,56 in all | one thousand two hundred and thirty-four point five six in all
Mix it 1:2:3. | Mix it one to two to three.
It is 2-3x faster. | It is two to three times faster.
10X growth | ten times growth
5×(3+2) | five times (three plus two)
the 4x100m relay | the four by one hundred metres relay
9.11 × 10^-31 kg | nine point one one times ten to the power of minus thirty-one kilograms
3×10⁸ m/s | three times ten to the power of eight metres per second
5-3=2 | five minus three equals two
10/2=5 | ten divided by two equals five
+/- 5 | plus or minus five
1/10th of it | one tenth of it
2-1/2 cups | two and a half cups
S01E05 | S zero one E zero five
Only <5% failed. | Only less than five percent failed.
Over >90% passed. | Over more than ninety percent passed.
ages ≥18 and ≤65 | ages at least eighteen and at most sixty-five
p<.001 | p is less than point zero zero one
x>5 | x is greater than five
I <3 you | I heart you
File > Save | File Save
a <b>5</b> | a b five b
They won 112-108. | They won one hundred and twelve to one hundred and eight.
a 50-50 chance | a fifty fifty chance
a BP of 120/80 | a BP of one hundred and twenty over eighty
Genesis 1:1 | Genesis one one
Matthew 5:3-12 | Matthew five three to twelve
10.0.0.1:8080 | ten dot zero dot zero dot one colon eight zero eight zero
10.0.0.0/16 | ten dot zero dot zero dot zero slash sixteen
The zip is 90210. | The zip is nine zero two one zero.
my PIN 1984 | my PIN one nine eight four
order #12345 | order number one two three four five
Error 404 | Error four oh four
RFC 3986, as it is | RFC thirty-nine eighty-six, as it is
1e10000 | one times ten to the power of ten thousand
flight BA2490 | flight BA twenty-four ninety
an A380 | an A three eighty
1080p video | ten eighty p video
100K followers | one hundred thousand followers
a 10K race | a ten K race
1.2bn people | one point two billion people
The p-value was < 0.001. | The p-value was less than zero point zero zero one.
a 1/250 s exposure | a one two hundred and fiftieth of a second exposure
3.0e8 m/s | three point zero times ten to the power of eight metres per second
§§ 5-7 | sections five to seven
The vote was 218-212. | The vote was two hundred and eighteen to two hundred and twelve.
"""

DATES = """
in 1984 | in nineteen eighty-four
1200 BC | twelve hundred BC
c. 1500 | circa fifteen hundred
at 1600 hours | at sixteen hundred hours
1984 people | one thousand nine hundred and eighty-four people
In 1984 people were happy. | In nineteen eighty-four people were happy.
It has 1500 words. | It has one thousand five hundred words.
in 1066 | in ten sixty-six
since 2005 | since two thousand and five
the year 1905 | the year nineteen oh five
by 1900 | by nineteen hundred
the 2026 Olympics | the twenty twenty-six Olympics
(1832–1898) | (eighteen thirty-two to eighteen ninety-eight)
the 1914–18 war | the nineteen fourteen to eighteen war
the 1990s | the nineteen nineties
the '90s | the nineties
the ’60s | the sixties
the 1800s | the eighteen hundreds
the mid-1990s | the mid-nineteen nineties
in her 20s | in her twenties
a 30s wait | a thirty second wait
Nov. 22, 2026 | November twenty-second, twenty twenty-six
On November 22 we met. | On November twenty-second we met.
22 November 2026 | the twenty-second of November, twenty twenty-six
the 22nd of November | the twenty-second of November
on the 5 March | on the fifth of March
2026-11-22 | November twenty-second, twenty twenty-six
2026/11/22 | November twenty-second, twenty twenty-six
11/22/2026 | November twenty-second, twenty twenty-six
22/11/2026 | November twenty-second, twenty twenty-six
22.11.2026 | November twenty-second, twenty twenty-six
2026-11-22T10:30:00Z | November twenty-second, twenty twenty-six, ten thirty UTC
Nov 2026 | November twenty twenty-six
May 5–7 | May fifth to seventh
We met in Dec. and left. | We met in December and left.
We met in Dec. | We met in December.
May I? | May I?
March on! | March on!
Mon., Nov. 22 | Monday, November twenty-second
He sat. Sat. 5 p.m. | He sat. Saturday five PM.
10:30 | ten thirty
at 10:00 | at ten o'clock
at 14:00 | at fourteen hundred
12:05 | twelve oh five
3 pm | three PM
3-4 pm | three to four PM
9am–5pm | nine AM to five PM
10:30-11:15 | ten thirty to eleven fifteen
10:30 a.m. sharp | ten thirty AM sharp
We left at 3 p.m. He stayed. | We left at three PM. He stayed.
at 3 p.m. on Monday | at three PM on Monday
at 3 p.m. Monday | at three PM Monday
It is 3 p.m. | It is three PM.
from nine a.m. till six | from nine AM till six
At 10:30:15 | At ten thirty and fifteen seconds
In 05/2021 we moved. | In May twenty twenty-one we moved.
In 2021-05 we moved. | In May twenty twenty-one we moved.
the 2010-11 season | the twenty ten to eleven season
the 2008-09 crisis | the two thousand and eight to oh nine crisis
The 2023/24 season | The twenty twenty-three to twenty-four season
the 1980s-90s | the nineteen eighties to nineties
5th–6th centuries | fifth to sixth centuries
class of '99 | class of ninety-nine
Q4 2024 results | Q four twenty twenty-four results
in the year 2525 | in the year twenty-five twenty-five
(b. 1950, d. 1999) | (born nineteen fifty, died nineteen ninety-nine)
Mon-Fri | Monday to Friday
Mon 5 May | Monday the fifth of May
Jan–Mar 2020 | January to March twenty twenty
It took 1:02:03. | It took one hour two minutes three seconds.
1:02:03 | one hour two minutes three seconds
at 1:02:03 | at one oh two and three seconds
The flight takes 2h30m. | The flight takes two hours thirty minutes.
1h 5m 3s | one hour five minutes three seconds
at 0900 hours | at oh nine hundred hours
He sailed at 0600. | He sailed at oh six hundred.
the 1/2000 of it | the one two thousand of it
March—May was dry | March—May was dry
"""

MEASURES = """
$5 | five dollars
$1 | one dollar
$1.5 million | one point five million dollars
$3.50 | three dollars and fifty cents
$0.99 | ninety-nine cents
$5.01 | five dollars and one cent
£3.50 | three pounds and fifty pence
€20 | twenty euros
20 € | twenty euros
¥500 | five hundred yen
-$5 | minus five dollars
$5–10 | five to ten dollars
$5-$10 | five to ten dollars
$10k | ten thousand dollars
$2bn | two billion dollars
US$20 | twenty US dollars
20 USD | twenty US dollars
EUR 5 | five euros
$5/month | five dollars per month
a $5 bill | a five dollar bill
50p | fifty pence
50% | fifty percent
3.5% | three point five percent
5–10% | five to ten percent
100 % | one hundred percent
-5 °C | minus five degrees Celsius
1 °C | one degree Celsius
20–25°C | twenty to twenty-five degrees Celsius
a 90° turn | a ninety degree turn
5 km | five kilometres
1 km | one kilometre
5 km/h | five kilometres per hour
a 5 km run | a five kilometre run
a 5-km run | a five-kilometre run
It is 6 ft. He left. | It is six feet. He left.
10 lbs of it | ten pounds of it
5'10" tall | five feet ten inches tall
3 m² | three square metres
16GB | sixteen gigabytes
2.4 GHz | two point four gigahertz
the k8s docs | the k eight s docs
€1.234,56 | one thousand two hundred and thirty-four euros and fifty-six cents
€9,99 | nine euros and ninety-nine cents
1.234,56 € | one thousand two hundred and thirty-four euros and fifty-six cents
$1,234.56 | one thousand two hundred and thirty-four dollars and fifty-six cents
3,5 % | three point five percent
1,2,3% | one,two,three percent
NT$100 | one hundred New Taiwan dollars
R$10 | ten reais
Rs. 500 | five hundred rupees
₹5 lakh | five lakh rupees
HK$20 | twenty Hong Kong dollars
$1.5M–$2M | one point five million dollars to two million dollars
a $3.5-million budget | a three point five million dollar budget
$82.50/bbl | eighty-two dollars and fifty cents per barrel
70 m.p.h. | seventy miles per hour.
70 m.p.h. winds | seventy miles per hour winds
5 kg–10 kg | five kilograms to ten kilograms
30 cm x 20 cm | thirty centimetres by twenty centimetres
12' x 10' | twelve feet by ten feet
8.5 x 11 in | eight point five by eleven inches
5 ft 10 in; | five feet ten inches;
I'm 5'11. | I'm five feet eleven inches.
a 55" TV | a fifty-five inch TV
10 sq. ft. of it | ten square feet of it
12 pt type | twelve points type
40.7° N | forty point seven degrees north
Bake at 375 F for a while | Bake at three hundred and seventy-five degrees Fahrenheit for a while
"""

WORDS = """
Dr. Smith and Mrs. Brown | Doctor Smith and Missus Brown
Mr Darcy | Mister Darcy
Lt. Col. West | Lieutenant Colonel West
5 Sunset Dr. is his. | five Sunset Drive is his.
St. Paul | Saint Paul
on Main St. in St. Louis | on Main Street in Saint Louis
He lives on Main St. She does not. | He lives on Main Street. She does not.
Mount St. Helens | Mount Saint Helens
Martin Luther King Jr. spoke. | Martin Luther King Junior spoke.
He works at Acme Inc. She does not. | He works at Acme Incorporated. She does not.
e.g. cats, i.e. animals | for example cats, that is animals
E.g., cats | For example, cats
cats, dogs, etc. | cats, dogs, et cetera.
cats, etc., and dogs | cats, et cetera, and dogs
cats (etc.) ran | cats (et cetera) ran
He had cats, etc. They ran. | He had cats, et cetera. They ran.
“cats, etc.” | “cats, et cetera.”
us vs. them | us versus them
Smith et al. 2020 | Smith and others twenty twenty
No. 5 | Number five
No. I won't. | No. I won't.
"No." | "No."
Nos. 5 and 6 | Numbers five and six
pp. 12–15 | pages twelve to fifteen
p. 5 | page five
Vol. IV | Volume four
a Ph.D. in physics | a PhD in physics
He has a Ph.D. She left. | He has a PhD. She left.
C++ and C# | C plus plus and C sharp
AT&T | A-T and T
R&D | R and D
salt & pepper | salt and pepper
U.S. and U.K. | U.S. and U.K.
J. R. R. Tolkien | J. R. R. Tolkien
tea w/ milk, w/o sugar | tea with milk, without sugar
and/or | and or
he/she | he or she
N/A | N A
TCP/IP | TCP IP
in km/h | in km per h
Henry VIII | Henry the Eighth
Elizabeth I. | Elizabeth the First.
Queen Victoria II | Queen Victoria the Second
Pope John Paul II | Pope John Paul the Second
John Smith III | John Smith the Third
Chapter IV | Chapter four
CHAPTER I. Down the Rabbit-Hole | CHAPTER one. Down the Rabbit-Hole
Act II, scene iii | Act two, scene three
Parts I and II | Parts one and two
Chapters I–III | Chapters one to three
World War II | World War two
Rocky IV | Rocky four
I think I am James I think. | I think I am James I think.
the chapter I read | the chapter I read
AI and iPhone 15 | AI and iPhone fifteen
COVID-19 | COVID-nineteen
MP3 | MP three
5G | five G
World War I began. | World War one began.
George I, George II | George the First, George the Second
Star Wars: Episode V. | Star Wars: Episode five.
Mark I computer | Mark I computer
the IV drip | the IV drip
The IV drip | The IV drip
John F. Kennedy, a.k.a. Jack | John F. Kennedy, also known as Jack
Mt. Everest | Mount Everest
5th Ave. | fifth Avenue.
B2B | B to B
H₂O and H2O | H two O and H two O
Well... no… | Well... no…
state-of-the-art - really | state-of-the-art - really
Mr. & Mrs. Smith | Mister and Missus Smith
Approx. 5 people | Approximately five people
Roe v. Wade | Roe versus Wade
max. 5 people | maximum five people
He said no. 5 minutes later | He said no. five minutes later
her No. 1 hits | her Number one hits
Apt. 4B | Apartment four B
part no. A-12 | part number A-twelve
b/c of it | because of it
"""

WEB = """
Mail a.b@example.com. | Mail a dot b at example dot com.
www.example.com/path?x=1 | w w w dot example dot com slash path question mark x equals one
See https://example.com/. | See example dot com.
(example.org) | (example dot org)
open report.pdf now | open report dot pdf now
#travel | hashtag travel
#ClimateChange | hashtag Climate Change
#1 | number one
@alice said | at alice said
Call 555-1234. | Call five five five, one two three four.
555-123-4567 | five five five, one two three, four five six seven
(555) 123-4567 | five five five, one two three, four five six seven
+44 20 7946 0958 | plus four four, two zero, seven nine four six, zero nine five eight
100-1000 | one hundred to one thousand
+44 (0)20 7946 0958 | plus four four, zero, two zero, seven nine four six, zero nine five eight
4111 1111 1111 1111 | four one one one, one one one one, one one one one, one one one one
HTTPS://Example.COM/a_b | Example dot COM slash a underscore b
Read Node.js docs | Read Node dot js docs
123-45-6789 | one two three, four five, six seven eight nine
§5 | section five
© 2026 | copyright twenty twenty-six
A → B | A to B
a -> b | a to b
x >= 5 | x is at least five
Call 911. | Call nine one one.
Dial 112 now | Dial one one two now
Call 100 people | Call one hundred people
ext. 405 | extension four zero five
#100DaysOfCode | hashtag one hundred Days Of Code
/etc/hosts | slash e t c slash hosts
"""


def pairs(table: str) -> list[tuple[str, str]]:
    rows = (line.split(" | ") for line in table.split("\n") if line)
    return [(written, spoken) for written, spoken in rows]


@pytest.mark.parametrize(("written", "spoken"), pairs(NUMBERS + DATES + MEASURES + WORDS + WEB))
def test_english(written: str, spoken: str) -> None:
    assert normalise(written).text == spoken
    assert normalise(written, "en").text == spoken
    assert normalise(spoken).text == spoken
