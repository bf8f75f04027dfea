"""Pickles name the public modules, and those of version 0.1 are read whatever file a class lies in today."""

from __future__ import annotations

import base64
import inspect
import pickle
import pickletools
import zlib
from typing import Any

import numpy as np
import pytest

import stoop

# An optimizer with a momentum for two elements; layers; losses; optimizers; schedules; and a trainer after one
# update. Protocol 2, compressed.
OLD = (
    "c-pmCd7K+n9nbFeoZbg5E#-<;Q@X6(?E!3$lx|B}vJEv`Y_zW9O!9W$*vU+OZ)SFzmeC^JOWWdw(t05tSS_WZ)grX3iBeHO1r;kQQ1AqVdKDGL"
    "-+MEeBxSdLsvqZ%$;_MI@B90`-}{}}Q5#8HwrS=X%$%)dwQYo1Qd?}b1fh91LX8Wxk<^4xD5MjG8Jf{4GsPxQ7mL0a5?5*r-m+$v7`Bsz5wYl#"
    "73&7EY{JYg7&(v{i|-jFn<E?rM#Vz@l^TsVIc?@Nl7Z3fFeX*QDPe3oNbN8#Z8+Inz5xjsX~;UdttpHtc}Zp@Z5o!%oU|>$c#ljnGTv915D)dh"
    "#5A&HNZOK!!5<`;B*0aeoEpXVq}ZC#2vd4tY7(aP!Sp1Y7m3%zYkOdZ516s@Ipmv}szv&aE8+Zs{yvzMgxQgJoxoZK7bFsiYhS@j+~Oe{=BNX7"
    "Qfg{xhoR!3Xz&0RQj~X55-zsk5>-*!;nH}m60hlla4)<@anyF0TRIV4$@9}#O$-ZlcrBjC>s)w!BsCJD97D4$;95xdrlf7H3wL80FfSoY?^r}u"
    "HN}F<5~*?czJ)M@=(2`vFyF`LFPfrzXTGldB0)XMy4;0^NNNN>MkPz&4Z>uG$+C(L3xp0`itZ3-j79I+%ddToDo&Y;^#nBuGDI{jSSY^POwkNQ"
    ")d?)>7dF)!VQ~Q9tu(=sgrip5V3lI0X##~ya0Tjir3+U@D0<s-5Ay4wR2?#soCVFX70<kMxc_N-iZ1Fu6Qq^@cpys=WSI-gBlN5stC^WI9dxi2"
    "NFQ}!rDqTk16K#WUddQK2}??n*6Sr$g{&<utVSwpD5_SXY{`41YmoFB7h(~*XdpFF1W+eZbrIRp%^ZQXvFHOOQ&%gRB$k$O6kURKlsn3`F2o}="
    "60fE667;eJou8mhbRnuh7bhq;Zx6Kg_rm%lBuG147kHd$S;UgoIx6>q4G8o`7n0%>Geox)Xp61%ojTZy&(mgh*jZ(33!b&L#<0<F7={}W;d&R|"
    "l$s>MO+^p1vZiTMo&z=o=WeN}L@Gjg%6YR3Z;4P$Fgv$B6+1Y6JDzeWj_Ak%T235+2`UoT)fpwml#B$M5$UZiv{xZD$Cf{S!xJYSJ9_U>yvg-#"
    "8&GQr-iExg3vU;^8`SlWoZA1ga4<$qPy(Ohp0g&u=j4K2%@sO|;7emRBn<PJIxviu=z?h!lW~DmiQ$%3iLEq3N7=bci%rlOi@tFB;S)3Z=2u7;"
    "8C1zyow#$L!%EyFfrcXA;lh?mk+dv`4hc``Kx#Zn=q6exwPnnwN*?sUszZrOC}M|M6lb_#o|8D?_oag3OUuQgIgfoPX{{JW5&#NgE?7d?>?J3k"
    "ozrspnZgcE=Q>mUtUlDb>Y7-a1UBM1E_4aJQnBN9pc=BUylf#kbjKy(+vxc+;rY-DYS<c|HKbukw{03NF$wYrzs-g1Rq(vfraNT~oyW(yA>Kq0"
    "D>a!%oRZ1tM7B*GKO1QRZfwP&`%m9?`1#!q51@CJqS#7Pl5unl$`)QC6$2C4yHMT^7jBGrIhMh@%UPHEc8)N(NhCKc**Vx5XkP|v!w(YlAW*Lh"
    "eGyuLz)M31CN+~mf4K$VeoMLt%fmptj^0Fv0^OjIH0joOfqM@kzt@Fb5mC}q)8W-zBNptA*Y&_20mn111vdwhgM`=%?;A$Knyoq0KyT7`c6>j|"
    "_<#!^tkT{~Z`{#7RL<!G@tR=(*BQ7ci)_@gsPrue_+b}5QVB>aV20VX+07H|t;oFBg?&}p@B~79o#CVZ3CUNc4HzEs#}M!1E_|X&nW6bwH3K_3"
    "2|kG|x4H1CDiuUEH8OB}5aq%~+%qirbbRcvyVCQ9nH7fq4B~#)h0j%~QpTf*A~18@5^zTl1H(YKm=-E5!RHZnzYAZeg5?_BUak^DBV1>YmV8=A"
    "j4vX_0T=F!2)E^ti{Wsv3QqJYxwI`~^e`LlibWq?C@$fe8Ldn9z5P&Z<yF47^APR8=0=w*zJDpUve<t%wKgd%>tI;jjY@slg|9@!`Io-KVafyd"
    "t1f)))n|%|`cXxESkYafV{P<*;RrI{<HFayt;$(!f_1pprxtI#k>>df?Q&lvwG&&~?P1NxIhg3RY`D3pK5P+^2{$jO4|}afxOwyTFz<@P&EX91"
    "OvCkI(Tob>a$^&24#<e^Ad#ZysDeNZi(TaK+tYBf;plpOxS~BREd^~PB8V0eF@p9n+>D(+L7f^)<a(3$<kkmrncozJ&t3Phmf<PG&WHc6y0*LR"
    "^<iu<(cYCZT{tR=dWUW*_QEDO=E9)o7z-M_G7R6K<Ea>OzDaR%DI}pNCYN|^FMNyo<H{oVHXm2+Pr`8=6zHo5mG6i_We%q;94PK63>Nkm_ZRmT"
    "2DcS&DeNl@&Mn-b6$aq}KC*l_3E#8fK~;Ftf(9{LJXBKRVXnmYlkfw7eEK0h&XM`xQM}bG++8@bbm`2c@CXNbGzmYl;m4{7rN)L}M?WcnJ;uR)"
    "nuHU<j(+CB&E#<Vub5jHbmkV16pj^l6mOmsEgp<oQFxp~|2zr5u;G`gFcpUuT0T(%ev$(}m4uVNmQQ=Iyx}PBF77JsTIT=2GaT(#N%*x5zfqk5"
    "8-AOF--&!B^L7`0PkC?rtP9W4wje`W-j?K`-ox{vqy2*mFJPIcymG$i!l|lA?ysykemGYQHfOfHVrR17g1{fsvaC894#kEnOP$yv+BQc0pZoy#"
    "$)vUZFZ@|#cG>KJzx2XilW@8nUUK1Yz3}%W{G&988y#9FyzIh1BXn^&sV*sZxI8zebuB0JVG#b65W5x&-az<@H-YlR$|+a~lS;xLQ_~L4@L0oH"
    "4KBuOyh@W*SgoKDSr-R;&B7pLbv6FK1AZ8=5qyFB6wc<dO&L)#78}WdLSE;BnTm}P?~drDWQt+Qg)$|bXQT1UfR_lxSkK1b0zK{>T9EVDSPoF@"
    "(P8>WT_s#`**LsMgo?odv+=mr&L(gi&&SwA{yeRZO~T(Ko6LF8*;e+jDMA?cw`urP+%ryY9xD}&7VfKf44vckKd_drQR9nuEf=@Kfz8D`{rkD&"
    "6m}GjmG1xD#inu#P3dLRgz2W&@P7-=!@H_@6Am^yN+)46Dy%)zxAyshWtMMk{4m?Ic2#_+dF&k}b^(5xmt=DU{)HT0z+2r)E{Fbek?<1Hy5`I@"
    "Wfyz?74$#s65+XyquT6Jd~EnP=FfYC"
)


def old() -> Any:
    data = zlib.decompress(base64.b85decode(OLD))
    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        data = data.replace(b"numpy._core", b"numpy.core")
    return pickle.loads(data)


def test_an_old_pickle_is_read() -> None:
    optimizer, layers, losses, optimizers, schedules, trainer = old()
    w = np.zeros(2)
    optimizer.step([w], [np.ones(2)])
    np.testing.assert_array_equal(w, -1.5)  # the second update
    assert layers[0] == stoop.Dense(3, l1=0.1, kernel_init=stoop.initializers.normal(0.1))
    assert layers[-1] == stoop.Residual([stoop.Dense(2)])
    assert losses[0] == stoop.losses.Huber(2.0)
    assert [type(each).__name__ for each in optimizers[-3:]] == ["Lion", "LBFGS", "NewtonCG"]
    assert schedules[2] == stoop.schedules.Piecewise([3], [0.1, 0.2])
    assert schedules[-1] == stoop.schedules.Warmup(stoop.schedules.Constant(0.1), 3)
    assert (trainer.steps, trainer.loss) == (1, stoop.losses.Huber(0.5))
    x = np.ones((2, 2), "f4")
    again = pickle.loads(pickle.dumps(trainer))
    assert trainer.step(x, x) == again.step(x, x)


def test_the_old_objects_are_equal_to_new_ones() -> None:
    _, layers, losses, optimizers, schedules, _ = old()
    for each in [*layers, *losses, *optimizers, *schedules]:
        assert pickle.loads(pickle.dumps(each)) == each
        assert eval(repr(each), {**vars(stoop), **vars(stoop.schedules), **vars(stoop.optimizers), **NAMES}) == each


NAMES = {**vars(stoop.losses), "Initializer": stoop.initializers.Initializer}


@pytest.mark.parametrize("module", ["activations", "initializers", "layers", "losses", "optimizers", "schedules"])
def test_pickles_name_the_public_module(module: str) -> None:
    found = {value for value in vars(getattr(stoop, module, None) or stoop.layers).values() if inspect.isclass(value)}
    for kind in found:
        if kind.__module__.startswith("stoop"):
            assert "._" not in kind.__module__, kind
    data = pickle.dumps([stoop.optimizers.Adam(stoop.schedules.Cosine(0.1, 3)), stoop.ReLU()], protocol=2)
    names = [argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)]
    assert "stoop.optimizers Adam" in names
    assert "stoop.schedules Cosine" in names
