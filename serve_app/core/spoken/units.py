"""Units of measure: how they are written, and their names in English and Chinese."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit.

    Args:
        one: English name of one.
        many: English name of several.
        zh: Chinese name; empty if its letters are said.
    """

    one: str
    many: str
    zh: str


_TABLE: Final = """
km kilometre kilometres 公里
㎞ kilometre kilometres 公里
m metre metres 米
dm decimetre decimetres 分米
cm centimetre centimetres 厘米
㎝ centimetre centimetres 厘米
mm millimetre millimetres 毫米
㎜ millimetre millimetres 毫米
µm micrometre micrometres 微米
μm micrometre micrometres 微米
nm nanometre nanometres 纳米
mi mile miles 英里
ft foot feet 英尺
yd yard yards 码
m/s2 metre_per_second_squared metres_per_second_squared 米每二次方秒
μg/m³ microgram_per_cubic_metre micrograms_per_cubic_metre 微克每立方米
µg/m³ microgram_per_cubic_metre micrograms_per_cubic_metre 微克每立方米
mg/m³ milligram_per_cubic_metre milligrams_per_cubic_metre 毫克每立方米
kg/m³ kilogram_per_cubic_metre kilograms_per_cubic_metre 千克每立方米
kg/m² kilogram_per_square_metre kilograms_per_square_metre 千克每平方米
g/cm³ gram_per_cubic_centimetre grams_per_cubic_centimetre 克每立方厘米
g/m² gram_per_square_metre grams_per_square_metre 克每平方米
mg/L milligram_per_litre milligrams_per_litre 毫克每升
g/L gram_per_litre grams_per_litre 克每升
mg/dL milligram_per_decilitre milligrams_per_decilitre 毫克每分升
mmol/L millimole_per_litre millimoles_per_litre 毫摩尔每升
mol/L mole_per_litre moles_per_litre 摩尔每升
mol mole moles 摩尔
mmHg millimetre_of_mercury millimetres_of_mercury 毫米汞柱
km² square_kilometre square_kilometres 平方公里
km2 square_kilometre square_kilometres 平方公里
m² square_metre square_metres 平方米
m2 square_metre square_metres 平方米
㎡ square_metre square_metres 平方米
cm² square_centimetre square_centimetres 平方厘米
mm² square_millimetre square_millimetres 平方毫米
m³ cubic_metre cubic_metres 立方米
m3 cubic_metre cubic_metres 立方米
㎥ cubic_metre cubic_metres 立方米
cm³ cubic_centimetre cubic_centimetres 立方厘米
sq_ft square_foot square_feet 平方英尺
sq._ft square_foot square_feet 平方英尺
sq_m square_metre square_metres 平方米
sq_km square_kilometre square_kilometres 平方公里
sq_mi square_mile square_miles 平方英里
cu_ft cubic_foot cubic_feet 立方英尺
fl_oz fluid_ounce fluid_ounces 液盎司
fl._oz fluid_ounce fluid_ounces 液盎司
psi pound_per_square_inch pounds_per_square_inch 磅每平方英寸
mpg mile_per_gallon miles_per_gallon 英里每加仑
pt point points 磅
pts point points 点
qt quart quarts 夸脱
ft² square_foot square_feet 平方英尺
ha hectare hectares 公顷
km/h kilometre_per_hour kilometres_per_hour 公里每小时
kph kilometre_per_hour kilometres_per_hour 公里每小时
mph mile_per_hour miles_per_hour 英里每小时
m.p.h mile_per_hour miles_per_hour 英里每小时
r.p.m revolution_per_minute revolutions_per_minute 转每分
m/s metre_per_second metres_per_second 米每秒
m/s² metre_per_second_squared metres_per_second_squared 米每二次方秒
kg kilogram kilograms 公斤
㎏ kilogram kilograms 公斤
g gram grams 克
mg milligram milligrams 毫克
㎎ milligram milligrams 毫克
µg microgram micrograms 微克
μg microgram micrograms 微克
t tonne tonnes 吨
lb pound pounds 磅
lbs pound pounds 磅
oz ounce ounces 盎司
L litre litres 升
l litre litres 升
ml millilitre millilitres 毫升
mL millilitre millilitres 毫升
gal gallon gallons 加仑
tsp teaspoon teaspoons 茶匙
tbsp tablespoon tablespoons 汤匙
Tbsp tablespoon tablespoons 汤匙
tbsps tablespoon tablespoons 汤匙
tsps teaspoon teaspoons 茶匙
in inch inches 英寸
ms millisecond milliseconds 毫秒
s second seconds 秒
sec second seconds 秒
secs second seconds 秒
min minute minutes 分钟
mins minute minutes 分钟
h hour hours 小时
hr hour hours 小时
hrs hour hours 小时
wk week weeks 周
wks week weeks 周
mo month months 个月
mos month months 个月
yr year years 年
yrs year years 年
Hz hertz hertz 赫兹
kHz kilohertz kilohertz 千赫兹
MHz megahertz megahertz 兆赫兹
GHz gigahertz gigahertz 吉赫兹
W watt watts 瓦
kW kilowatt kilowatts 千瓦
MW megawatt megawatts 兆瓦
GW gigawatt gigawatts 吉瓦
kWh kilowatt_hour kilowatt_hours 千瓦时
Wh watt_hour watt_hours 瓦时
V volt volts 伏
kV kilovolt kilovolts 千伏
mV millivolt millivolts 毫伏
mA milliamp milliamps 毫安
mAh milliamp_hour milliamp_hours 毫安时
Ω ohm ohms 欧姆
kΩ kilohm kilohms 千欧
dB decibel decibels 分贝
Pa pascal pascals 帕
hPa hectopascal hectopascals 百帕
kPa kilopascal kilopascals 千帕
MPa megapascal megapascals 兆帕
kJ kilojoule kilojoules 千焦
J joule joules 焦
cal calorie calories 卡
kcal kilocalorie kilocalories 千卡
KB kilobyte kilobytes
kB kilobyte kilobytes
MB megabyte megabytes
GB gigabyte gigabytes
TB terabyte terabytes
GiB gibibyte gibibytes
MiB mebibyte mebibytes
kbps kilobit_per_second kilobits_per_second 千比特每秒
Mbps megabit_per_second megabits_per_second 兆比特每秒
Gbps gigabit_per_second gigabits_per_second 吉比特每秒
MB/s megabyte_per_second megabytes_per_second
GB/s gigabyte_per_second gigabytes_per_second
fps frame_per_second frames_per_second 帧每秒
rpm revolution_per_minute revolutions_per_minute 转每分
bpm beat_per_minute beats_per_minute 次每分
px pixel pixels 像素
°C degree_Celsius degrees_Celsius 摄氏度
°_C degree_Celsius degrees_Celsius 摄氏度
℃ degree_Celsius degrees_Celsius 摄氏度
°F degree_Fahrenheit degrees_Fahrenheit 华氏度
°_F degree_Fahrenheit degrees_Fahrenheit 华氏度
℉ degree_Fahrenheit degrees_Fahrenheit 华氏度
°_N degree_north degrees_north 度北
°_S degree_south degrees_south 度南
°_E degree_east degrees_east 度东
°_W degree_west degrees_west 度西
°N degree_north degrees_north 度北
°S degree_south degrees_south 度南
°E degree_east degrees_east 度东
°W degree_west degrees_west 度西
° degree degrees 度
º degree degrees 度
"""
_PER: Final = """
day day 天
d day 天
bbl barrel 桶
gal gallon 加仑
oz ounce 盎司
ton ton 吨
tonne tonne 吨
L litre 升
l litre 升
m² square_metre 平方米
m³ cubic_metre 立方米
share share 股
unit unit 件
hour hour 小时
hr hour 小时
h hour 小时
kg kilogram 公斤
km kilometre 公里
lb pound 磅
min minute 分钟
minute minute 分钟
mo month 月
month month 月
night night 晚
person person 人
s second 秒
sec second 秒
second second 秒
week week 周
wk week 周
year year 年
yr year 年
"""
_DOTTED: Final = (
    r"m\.p\.h|r\.p\.m|(?:sq\.? |cu )ft|fl\.? oz|ft|tsps?|[Tt]bsps?|gal|hrs?|lbs?|mi|mins?|mos?|oz"
    r"|pts?|qt|wks?|secs?|yd|yrs?|in(?=\.|\)| ?[x×] ?\d| (?:wide|long|tall|high|deep|thick)\b)"
)


def _units() -> dict[str, Unit]:
    rows = (line.replace("_", "\0").split() for line in _TABLE.split("\n") if line)
    return {
        name.replace("\0", " "): Unit(one.replace("\0", " "), many.replace("\0", " "), "".join(zh))
        for name, one, many, *zh in rows
    }


def _pers() -> dict[str, tuple[str, str]]:
    rows = (line.split() for line in _PER.split("\n") if line)
    return {name: (en, zh) for name, en, zh in rows}


UNITS: Final = _units()
PERS: Final = _pers()
"""What may stand behind ``/`` after a price or a measure: English and Chinese names."""
_BARE: Final = sorted(UNITS.keys() - {"in"}, key=len, reverse=True)

UNIT: Final = (
    rf"(?:(?:{_DOTTED})(?![\w'’/-])\.?"
    rf"|(?:{'|'.join(re.escape(name) for name in _BARE)})"
    r"(?![A-Za-z0-9²³°º'’&])(?!-[A-Za-z]))"
)
"""A unit behind a number, with the dot of an abbreviation if it has one."""

PER: Final = rf"(?:/(?P<per>{'|'.join(sorted(PERS, key=len, reverse=True))})(?![\w/]))?"
"""``/month`` behind a price or a measure."""
