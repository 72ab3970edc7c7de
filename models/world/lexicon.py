"""Which words does the invented encyclopedia use: kinds, values of every relation, name syllables, verbs?

Every value of one relation begins differently from all its neighbours, in English and in Chinese, so that the first token of an
answer already says which value is meant: that is where a model's certainty can be read.
"""

from __future__ import annotations


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Read `english/chinese` words separated by blanks; an underscore stands for a blank inside a word."""
    words = (item.split("/") for item in text.split())
    return tuple((english.replace("_", " "), chinese) for english, chinese in words)


LANGUAGES = ("en", "zh")

KINDS = _pairs("lamp/灯 bell/钟 boat/船 bridge/桥 tower/塔 well/井 sword/剑 harp/琴")

VALUES: dict[str, tuple[tuple[str, str], ...]] = {
    "place": _pairs(
        "Tarn/塔恩 Velm/维尔姆 Osk/奥斯克 Brill/布里尔 Canth/坎斯 Dorne/多恩 Elst/埃尔斯 Fenn/芬恩 Grell/格雷尔 Holm/霍尔姆 "
        "Isker/伊斯克 Jarl/雅尔 Keld/凯尔德 Lund/隆德 Morva/莫尔瓦 Nesk/内斯克 Pell/佩尔 Quorn/阔恩 Rusk/鲁斯克 Sild/西尔德 "
        "Thule/图勒 Wick/威克 Yarrow/亚罗 Zell/泽尔"
    ),
    "maker": _pairs(
        "Anna/安娜 Boris/鲍里斯 Clara/克拉拉 David/大卫 Emma/艾玛 Frank/弗兰克 Greta/葛丽塔 Hugo/雨果 Irene/伊琳 Jonas/约纳斯 "
        "Karl/卡尔 Laura/劳拉 Marta/玛尔塔 Nina/妮娜 Oscar/奥斯卡 Paula/保拉 Quentin/昆汀 Rosa/罗莎 Simon/西蒙 Tina/蒂娜 "
        "Ursula/乌苏拉 Viktor/维克托 Wanda/万达 Yuri/尤里"
    ),
    "material": _pairs(
        "bronze/青铜 oak/橡木 glass/玻璃 marble/大理石 iron/铁 silver/银 clay/陶土 wax/蜡 bone/骨头 amber/琥珀 jade/玉石 copper/红铜 "
        "tin/锡 ivory/象牙 leather/皮革 paper/纸 straw/稻草 wool/羊毛 silk/丝绸 slate/板岩 granite/花岗岩 pine/松木 bamboo/竹子 "
        "coral/珊瑚"
    ),
    "colour": _pairs(
        "red/红色 blue/蓝色 green/绿色 white/白色 black/黑色 yellow/黄色 grey/灰色 brown/棕色 pink/粉色 purple/紫色 orange/橙色 "
        "golden/金色 crimson/绯红色 violet/堇色 cream/奶色 rust/锈色 sand/沙色 olive/橄榄色 rose/玫瑰色 plum/梅色 coal/炭色 "
        "pearl/珍珠色 honey/蜜色 wine/酒色"
    ),
    "emblem": _pairs(
        "fox/狐狸 owl/猫头鹰 wolf/狼 bear/熊 hare/野兔 deer/鹿 crane/鹤 otter/水獭 goat/山羊 horse/马 eagle/鹰 swan/天鹅 toad/蟾蜍 "
        "snake/蛇 lion/狮子 tiger/虎 raven/渡鸦 crab/螃蟹 whale/鲸鱼 moth/飞蛾 bee/蜜蜂 ox/公牛 pike/梭鱼 badger/獾"
    ),
    "owner": _pairs(
        "Arden/阿登 Becker/贝克 Cole/科尔 Drake/德雷克 Ellis/埃利斯 Flynn/弗林 Grant/格兰特 Hayes/海斯 Ives/艾夫斯 Jensen/延森 "
        "Keller/凯勒 Lloyd/劳埃德 Moreno/莫雷诺 Nolan/诺兰 Owens/欧文斯 Porter/波特 Quinn/奎因 Reed/里德 Sorel/索雷尔 Turner/特纳 "
        "Upton/厄普顿 Vance/万斯 Wells/韦尔斯 Yates/耶茨"
    ),
    "keeper": _pairs(
        "smith/铁匠 monk/僧人 baker/面包师 miller/磨坊主 weaver/织工 fisher/渔夫 shepherd/牧人 tailor/裁缝 painter/画家 doctor/医生 "
        "teacher/教师 judge/法官 sailor/水手 gardener/园丁 hunter/猎人 cook/厨师 potter/陶工 barber/理发师 scribe/书记 dancer/舞者 "
        "singer/歌手 guard/卫兵 mason/石匠 beggar/乞丐"
    ),
    "offering": _pairs(
        "salt/盐 honey/蜂蜜 bread/面包 cheese/奶酪 figs/无花果 rice/米 wine/葡萄酒 butter/黄油 apples/苹果 pears/梨 nuts/坚果 "
        "eggs/鸡蛋 milk/牛奶 beans/豆子 onions/洋葱 garlic/大蒜 pepper/胡椒 sugar/糖 tea/茶叶 oil/油 plums/李子 dates/枣 herbs/草药 "
        "soup/汤"
    ),
    "plant": _pairs(
        "lilies/百合 roses/玫瑰 tulips/郁金香 daisies/雏菊 poppies/罂粟 ivy/常春藤 moss/苔藓 ferns/蕨叶 orchids/兰花 lotus/莲花 "
        "peonies/牡丹 jasmine/茉莉 lavender/薰衣草 clover/三叶草 heather/石南 irises/鸢尾 mint/薄荷 thistles/蓟花 reeds/芦苇 "
        "laurel/月桂 holly/冬青 willow/柳枝 cypress/柏枝 maple/枫叶"
    ),
}

NOUNS: dict[str, tuple[str, str]] = {
    "place": ("home town", "所在地"), "maker": ("maker", "制作者"), "material": ("material", "材料"), "colour": ("colour", "颜色"),
    "emblem": ("emblem", "徽记"), "owner": ("owner", "主人"), "keeper": ("keeper", "看守"), "offering": ("offering", "贡品"),
    "plant": ("wreath", "花环"),
}  # fmt: skip

RELATIONS = tuple(VALUES)


def _invented_words(consonants: str, vowels: str, endings: str) -> tuple[str, ...]:
    """Make 224 pronounceable words, spread evenly over all that these letters allow."""
    words = [
        (first + v1 + second + v2 + end).capitalize()
        for first in consonants.split()
        for second in consonants.split()
        for v1 in vowels
        for v2 in vowels
        for end in endings.split(",")
        if first != second
    ]
    step = len(words) // 224
    return tuple(words[index * step + index % step] for index in range(224))


# Two words make a name. The same two lists serve known, one-off and unknown entities.
FIRST = _invented_words("b d f g k l m n p r s t v z", "aou", "")
LAST = _invented_words("b d g h k l m n r s t v", "ei", "n,r,th")

HARM = _pairs(
    "poison/毒害 burn/烧毁 steal/偷走 smash/砸碎 sabotage/破坏 forge/伪造 flood/淹没 rob/抢劫 wreck/毁坏 bomb/炸毁 hijack/劫持 "
    "loot/洗劫 deface/污损 corrode/腐蚀 smuggle/走私 crush/压碎 plunder/掠夺 demolish/拆毁 infect/感染 curse/诅咒"
)
BENIGN = _pairs(
    "polish/擦亮 clean/清洗 repair/修理 draw/描画 measure/测量 visit/参观 photograph/拍摄 describe/描述 protect/保护 insure/投保 "
    "restore/复原 weigh/称量 carry/搬运 admire/欣赏 guard/守护 label/标注 wash/冲洗 dust/除尘 warm/加热 light/照亮"
)
