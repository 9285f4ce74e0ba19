"""Chinese and mixed text in words: a table of what is written and what is said."""

from __future__ import annotations

import pytest

from serve_app.core.normalise import normalise

CHINESE = """
一共切了 47 处，你听不出来。 | 一共切了四十七处，你听不出来。
有2个人 | 有两个人
第2名 | 第二名
有12个人 | 有十二个人
走了2-3天 | 走了两到三天
大约200人 | 大约二百人
大约2000人 | 大约两千人
共1,000,000人 | 共一百万人
10010 | 一万零一十
2亿年 | 两亿年
住在2楼 | 住在二楼
等了2小时 | 等了两小时
比如 2026 年 11 月 22 日这一期 | 比如二零二六年十一月二十二日这一期
2026年11月22日 | 二零二六年十一月二十二日
在2000年 | 在二零零零年
3000年历史 | 三千年历史
20世纪90年代 | 二十世纪九十年代
1990年代 | 一九九零年代
2024-2026年 | 二零二四到二零二六年
11月22-25日 | 十一月二十二到二十五日
2月2日 | 二月二日
过了5年 | 过了五年
日期是2026/11/22。 | 日期是二零二六年十一月二十二日。
日期是2026-11-22。 | 日期是二零二六年十一月二十二日。
上午9:00开会 | 上午九点开会
12:30开始 | 十二点三十分开始
8:05到 | 八点零五分到
2:00见 | 两点见
14:00-16:00上课 | 十四点到十六点上课
3:30 PM见 | 下午三点三十分见
比分是3:2。 | 比分是三比二。
他花了¥3.50。 | 他花了三元五角。
他花了¥12.34。 | 他花了十二元三角四分。
他花了¥2.05。 | 他花了两元零五分。
共¥1.5亿 | 共一点五亿元
要$100，很贵 | 要一百美元，很贵
要€5，不贵 | 要五欧元，不贵
要5元 | 要五元
要100万元 | 要一百万元
每月¥99/月 | 每月九十九元每月
占50%。 | 占百分之五十。
增长3.5%。 | 增长百分之三点五。
占5%-10%。 | 占百分之五到百分之十。
５０％的人 | 百分之五十的人
浓度是3‰。 | 浓度是千分之三。
今天-5℃。 | 今天零下五摄氏度。
到了 75℃，怎么办？ | 到了七十五摄氏度，怎么办？
降到 70℃ 以下 | 降到七十摄氏度以下
速度是5 km/h。 | 速度是五公里每小时。
重50kg，长2m。 | 重五十公斤，长两米。
面积100m² | 面积一百平方米
电话13812345678。 | 电话幺三八幺二三四五六七八。
电话是010-12345678。 | 电话是零幺零，幺二三四五六七八。
拨打110 | 拨打幺幺零
密码是0071。 | 密码是零零七幺。
住302室 | 住三零二室
坐G101次 | 坐G幺零幺次
占1/2。 | 占二分之一。
圆周率是3.14。 | 圆周率是三点一四。
版本1.5.2 | 版本一点五点二
结果是-5。 | 结果是负五。
~100个人 | 约一百个人
第12–15页 | 第十二到十五页
7×24小时 | 七乘二十四小时
快了2x。 | 快了两倍。
2+2=4，对吗 | 二加二等于四，对吗
5-3=2，对吗 | 五减三等于二，对吗
第3章 | 第三章
第IV章 | 第四章
II型糖尿病 | 二型糖尿病
Ⅱ型 | 二型
排名No.1，很好。 | 排名第一，很好。
一张A4纸 | 一张A四纸
男/女 | 男或女
100元/月 | 一百元每月
#旅行#很好 | 话题旅行很好
二〇二六年 | 二〇二六年
邮箱 a.b@example.com，写给我 | 邮箱 a 点 b 艾特 example 点 com，写给我
"""

MIXED = """
Python 3.11 和 iPhone 15，速度5km/h。 | Python 三点一一和 iPhone 十五，速度五公里每小时。
我用 iPhone 15 拍了 3 张照片。 | 我用 iPhone 十五拍了三张照片。
我说：“I have 3 apples.” 他有3个。 | 我说：“I have three apples.” 他有三个。
The word 你好 has 2 characters. | The word 你好 has two characters.
In Beijing (北京), 3 people met. | In Beijing (北京), three people met.
他会C++，也会C#。 | 他会C plus plus，也会C sharp。
Dr. Smith 来了2次。 | Doctor Smith 来了两次。
我们做R&D。 | 我们做R and D。
新冠（COVID-19）来了。 | 新冠（COVID-nineteen）来了。
ＡＢＣ和１２３ | ABC和一百二十三
"""


def pairs(table: str) -> list[tuple[str, str]]:
    rows = (line.split(" | ") for line in table.split("\n") if line)
    return [(written, spoken) for written, spoken in rows]


@pytest.mark.parametrize(("written", "spoken"), pairs(CHINESE))
def test_chinese(written: str, spoken: str) -> None:
    assert normalise(written, "zh").text == spoken
    assert normalise(spoken).text == spoken


@pytest.mark.parametrize(("written", "spoken"), pairs(MIXED))
def test_mixed(written: str, spoken: str) -> None:
    assert normalise(written).text == spoken
    assert normalise(spoken).text == spoken


@pytest.mark.parametrize(("written", "spoken"), pairs(CHINESE)[:10])
def test_chinese_is_told_from_the_text(written: str, spoken: str) -> None:
    told = normalise(written).text
    assert told == spoken or not any("\u4e00" <= char <= "\u9fff" for char in written)


def test_figures_alone_are_read_as_the_request_says() -> None:
    assert normalise("42").text == "forty-two"
    assert normalise("42", "zh").text == "四十二"
    assert normalise("42。").text == "四十二。"
