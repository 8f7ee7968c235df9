"""Blocks that stand around the content of web pages, made from templates, and ways in which characters break."""

from __future__ import annotations

import random
import re

TOPICS = (
    "Home|News|Sport|Business|Politics|World|Culture|Science|Health|Travel|Weather|Opinion|Technology|Video|Podcasts|"
    "About us|Contact|Products|Services|Blog|Careers|Support|FAQ|Forum|Shop|Login|Register|Gallery|Events|Archive|"
    "Downloads|Documentation|Pricing|Press|Team|Partners|Donate|Community|Help|Recipes|Fashion|Cars|Real estate|Jobs",
    "Startseite|Nachrichten|Politik|Wirtschaft|Kultur|Wissen|Sport|Reise|Über uns|Kontakt|Impressum|Datenschutz|Hilfe|"
    "Anmelden|Produkte|Leistungen|Karriere|Presse|Termine|Archiv|Wetter|Panorama|Digital|Ratgeber|Mediathek",
    "Accueil|Actualités|Politique|Économie|Culture|Sport|Santé|Voyage|Contact|Qui sommes-nous|Boutique|Connexion|Aide|"
    "Produits|Services|Blog|Agenda|Emploi|Vidéos|Opinions|Météo|Archives|Partenaires|Plan du site",
    "Inicio|Noticias|Deportes|Economía|Cultura|Salud|Viajes|Contacto|Quiénes somos|Tienda|Iniciar sesión|Ayuda|"
    "Productos|Servicios|Opinión|Tecnología|Vídeos|Empleo|Eventos|Archivo|Mapa del sitio|Sociedad",
    "Главная|Новости|Политика|Экономика|Культура|Спорт|Наука|О нас|Контакты|Магазин|Войти|Помощь|Товары|Услуги|Блог|"
    "Работа|Видео|Архив|Карта сайта|Погода",
    "首页|新闻|体育|财经|娱乐|科技|汽车|房产|教育|关于我们|联系我们|登录|注册|帮助|产品|服务|论坛|招聘|视频|网站地图",
    "ホーム|ニュース|スポーツ|経済|文化|会社概要|お問い合わせ|製品情報|ログイン|ヘルプ|採用情報|動画|サイトマップ|ブログ|特集",
)
NAMES = (
    "Acme|Northwind|The Daily Herald|Globe|Meridian|Vista|Der Kurier|Le Phare|El Faro|Bluebird|TechNow|Kitchen Tales"
)
PEOPLE = "Maria Lopez|John Baker|A. Schmidt|Claire Dubois|Ivan Petrov|admin|editor|Sam Lee|Priya Rao|guest|Webmaster"
HEADS = (
    "How to choose the right {t}|{n} wins award for {t}|Five things about {t} you should know|Why {t} matters in {y}|"
    "{p}: my year with {t}|The best {t} of {y}|{t}: what comes next?|Ten tips for {t}|Inside the world of {t}|"
    "Fire at {n} warehouse|{t} prices fall again|Minister visits {n} plant|Review: {t} by {n}|What we learned about {t}"
)
BLOCKS = (
    "We use cookies to improve your experience. By continuing you accept our use of cookies.\nAccept\nLearn more",
    "This site uses cookies\nAccept all\nReject all\nManage preferences",
    "We and our {k} partners store and/or access information on a device, such as cookies. You can change your mind "
    "at any time.\nI agree",
    "Diese Website verwendet Cookies. Mehr erfahren\nOK",
    "Ce site utilise des cookies. En savoir plus\nJ'accepte",
    "Utilizamos cookies propias y de terceros. Más información\nAceptar",
    "Мы используем файлы cookie. Подробнее\nПринять",
    "本网站使用Cookie。继续浏览即表示您同意。",
    "当サイトではCookieを使用しています。\n同意する",
    "Share this\nFacebook\nTwitter\nLinkedIn\nEmail\nPrint",
    "Share on Facebook Share on Twitter Pin it",
    "Tweet\nShare\n{k} shares",
    "Facebook\nTwitter\nWhatsApp\nPinterest\nReddit",
    "Teilen\nTwittern\nMerken\nDrucken\nPer E-Mail senden",
    "Partager sur Facebook\nPartager sur Twitter\nImprimer",
    "Compartir\nFacebook\nTwitter\nImprimir",
    "分享到：微信 微博 QQ空间",
    "ツイート\nシェア\nはてなブックマーク",
    "Subscribe to our newsletter\nYour email address\nSign up",
    "Sign up for our daily briefing and never miss a story.\nEnter your email\nSubscribe",
    "Get the best of {n} in your inbox every week\nSubscribe now",
    "Newsletter abonnieren\nE-Mail-Adresse\nAbsenden",
    "Inscrivez-vous à notre newsletter\nVotre adresse e-mail",
    "Suscríbete a nuestro boletín\nCorreo electrónico\nEnviar",
    "© {y} {n}. All rights reserved.\nTerms of use\nPrivacy policy\nContact",
    "Copyright © {y} {n} Inc. | Terms | Privacy | Sitemap",
    "© {y} {n} GmbH - Impressum - Datenschutz - AGB",
    "© {y} {n}. Tous droits réservés. Mentions légales",
    "© {y} {n}. Todos los derechos reservados. Aviso legal",
    "版权所有 © {y} {n} 京ICP备{k}号",
    "Powered by WordPress | Theme by {n}",
    "Last updated: {d}\nBack to top",
    "Page last modified on {d} by {p}",
    "Skip to content\nSkip to navigation",
    "Jump to navigation | Search",
    "Toggle navigation\nMenu",
    "Search\nSearch for:\nGo",
    "Advanced search\nLog in\nMy account\nCart (0)",
    "Advertisement",
    "ADVERTISEMENT\nContinue reading below",
    "Anzeige",
    "Publicité",
    "Sponsored content\nBuy one {t}, get one free\nShop now",
    "Sale! Up to {k}% off {t} this week only\nOrder now",
    "Comments ({k})\nLeave a reply\nYour email address will not be published.\nName\nEmail\nWebsite\nPost comment",
    "{k} comments\nLog in to comment\nReport abuse",
    "Kommentare ({k})\nKommentar schreiben",
    "Laisser un commentaire\nNom\nE-mail\nSite web",
    "{p} says:\n{d} at 10:{k}\nReply",
    "Posted in: {t}, {t2} | Tags: {t3} | {k} Comments »",
    "Tags: {t}, {t2}, {t3}",
    "Filed under {t}\nPermalink\nTrackback",
    "« Older posts | Newer posts »",
    "Previous post: {h}\nNext post: {h2}",
    "← Previous   Next →",
    "1 2 3 4 5 … {k} Next »",
    "Page {k} of 98",
    "Home > {t} > {t2} > {t3}",
    "Home » {t} » {t2}",
    "You are here: Home / {t} / {t2}",
    "Sie sind hier: Startseite > {t}",
    "Was this page helpful?\nYes\nNo\nReport an issue",
    "Edit this page\nReport a bug\nShow source",
    "Print this page | Email to a friend | Font size: A A A",
    "Follow us\nFacebook\nTwitter\nInstagram\nYouTube\nRSS",
    "Download our app\nApp Store\nGoogle Play",
    "Language: English | Deutsch | Français | Español",
    "Please enable JavaScript to view this page.",
    "JavaScript is disabled in your browser.",
    "You have {k} free articles left this month.\nSubscribe for full access\nAlready a subscriber? Log in",
    "Read more",
    "Click here to view the gallery\nImage {k} of 12",
    "Photo: {n}/{p}",
    "Loading...",
    "Related articles\n{h}\n{h2}\n{h3}",
    "Most read\n1\n{h}\n2\n{h2}\n3\n{h3}",
    "You may also like\n{h}\n{h2}",
    "Recommended for you\n{h}\n{h2}\n{h3}",
    "Read next: {h}",
    "Don't miss: {h}",
    "Latest news\n{d} {h}\n{d} {h2}\n{d} {h3}",
    "Mehr zum Thema\n{h}\n{h2}",
    "À lire aussi\n{h}\n{h2}",
    "Te puede interesar\n{h}\n{h2}",
    "Читайте также\n{h}\n{h2}",
    "相关阅读\n{h}\n{h2}",
    "関連記事\n{h}\n{h2}",
    "Recent posts\n{h}\n{h2}\nArchives\nMarch {y}\nApril {y}\nMay {y}\nCategories\n{t}\n{t2}\n{t3}",
    "Blogroll\n{n}\n{n2}\nMeta\nLog in\nEntries RSS\nComments RSS",
    "Contact us\n{n}\n{k} Main Street\nTel: +1 555 0{k}{k}\nFax: +1 555 0{k}{k}",
)
INLINE = (
    " [edit]",
    " Read more »",
    " (advertisement)",
    " Share Tweet",
    " [link]",
    " Click to enlarge",
    " Permalink",
    " #",
)
MONTHS = "January February March April May June July August September October November December".split()


def block(rng: random.Random) -> str:
    """A menu, a banner, a footer, a list of other pages."""
    if rng.random() < 0.25:
        topics = rng.choice(TOPICS).split("|")
        found = rng.sample(topics, rng.randint(3, min(14, len(topics))))
        form = rng.choice(("\n", "\n", "\n• ", " | ", " · ", " "))
        return ("• " if "•" in form else "") + form.join(found)
    return _filled(rng.choice(BLOCKS), rng)


def _filled(template: str, rng: random.Random) -> str:
    topics = rng.choice(TOPICS[:4] if rng.random() < 0.5 else TOPICS[:1]).split("|")
    t, t2, t3 = rng.sample(topics, 3)
    n, n2 = rng.sample(NAMES.split("|"), 2)
    values = {
        **{"t": t, "t2": t2, "t3": t3, "n": n, "n2": n2, "p": rng.choice(PEOPLE.split("|"))},
        **{"k": rng.randint(2, 99), "y": rng.randint(1998, 2025)},
        "d": f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(1999, 2025)}",
    }
    heads = [head.format(**values) for head in rng.sample(HEADS.split("|"), 3)]
    return template.format(**values, h=heads[0], h2=heads[1], h3=heads[2])


def broken(text: str, rng: random.Random) -> str:
    """`text` with one defect within a line."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    lines[at] = rng.choice((_mojibake, _typo, _inline))(lines[at], rng)
    return "\n".join(lines)


def _mojibake(line: str, rng: random.Random) -> str:
    odd = [match.start() for match in re.finditer(r"[’“”–éèäöüßñç]", line)]
    if not odd:
        return _typo(line, rng)
    at = rng.choice(odd)
    return line[:at] + line[at].encode().decode("cp1252", "replace").replace("\ufffd", "") + line[at + 1 :]


def _typo(line: str, rng: random.Random) -> str:
    words = [match for match in re.finditer(r"\b(the|and|with|that|which|from|this|have|their|because)\b", line)]
    if not words:
        return _inline(line, rng)
    word = rng.choice(words)
    start = rng.randrange(word.start(), word.end() - 1)
    swapped = line[start + 1] + line[start]
    return line[:start] + swapped + line[start + 2 :] if swapped != line[start : start + 2] else line


def _inline(line: str, rng: random.Random) -> str:
    return line + rng.choice(INLINE)
