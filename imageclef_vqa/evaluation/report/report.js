"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 48;
  const by = (id) => document.getElementById(id);
  const said = (number) => number < 0 ? "no answer" : data.answers[number];
  const folded = data.answers.map((answer) => answer.toLowerCase());
  const make = (tag, text, kind) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  };
  const share = (row) => row[3] < 0 ? "" : (row[3] / 1000).toFixed(2);
  let found = [], shown = 0;

  function matching() {
    const fold = by("f-fold").value, kind = by("f-kind").value, question = by("f-question").value;
    const words = by("f-answer").value.trim().toLowerCase(), range = by("f-confidence").value;
    const [low, high] = range ? range.split("-").map((bound) => 1000 * bound) : [-1, 2000];
    const holds = (number) => number >= 0 ? folded[number].includes(words) : "no answer".includes(words);
    const fits = (row) =>
      (kind === "all" || (row[4] === 1) === (kind === "wrong")) &&
      (question === "" || row[0] === Number(question)) &&
      (!range || (row[3] >= low && (row[3] < high || high === 1000))) &&
      (!words || holds(row[1]) || holds(row[2]));
    const sure = (rows) => Math.max(...rows.map((row) => row[3]));
    const least = (rows) => Math.min(...rows.map((row) => row[3]));
    const order = {
      sure: (one, other) => sure(other.rows) - sure(one.rows),
      unsure: (one, other) => least(one.rows) - least(other.rows),
      many: (one, other) => other.rows.length - one.rows.length,
    }[by("f-order").value];
    return data.images
      .filter((image) => fold === "" || image[0] === Number(fold))
      .map((image) => ({ image, rows: image[3].filter(fits) }))
      .filter((each) => each.rows.length)
      .sort(order);
  }

  function line(row) {
    const item = make("li", undefined, row[4] ? "wrong" : "right");
    item.append(make("span", data.questions[row[0]], "q"));
    const given = make("span", said(row[2]), "given");
    const probability = share(row);
    item.append(make("span", row[4] ? "said " : "rightly ", "soft"), given);
    if (probability) item.append(make("span", " with " + probability, "soft"));
    if (row[4]) item.append(make("br"), make("span", "gold ", "soft"), make("span", said(row[1]), "gold"));
    return item;
  }

  function everything(image) {
    const list = make("ul");
    image[3].forEach((row) => list.append(line(row)));
    return list;
  }

  function card({ image, rows }) {
    const item = make("li"), article = make("article");
    const figure = make("figure");
    if (image[2]) {
      const picture = make("img");
      picture.alt = "Thumbnail of " + image[1];
      picture.src = "data:image/jpeg;base64," + image[2];
      figure.append(picture);
    } else figure.append(make("div", "no picture", "blank"));
    const caption = make("figcaption");
    caption.append(make("code", image[1]));
    if (data.folds.length > 1) caption.append(make("span", data.folds[image[0]], "soft"));
    figure.append(caption);
    const list = make("ul");
    rows.forEach((row) => list.append(line(row)));
    const details = make("details");
    details.append(make("summary", "All " + image[3].length + " answers"));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(everything(image));
    });
    article.append(figure, list, details);
    item.append(article);
    return item;
  }

  function more() {
    const next = found.slice(shown, shown + PAGE).map(card);
    by("cards").append(...next);
    shown += next.length;
    const left = found.length - shown;
    by("more").hidden = left === 0;
    by("more").textContent = "Show " + Math.min(PAGE, left) + " more of " + left.toLocaleString("en");
    return next[0];
  }

  function update() {
    found = matching();
    shown = 0;
    by("cards").replaceChildren();
    const answers = found.reduce((sum, each) => sum + each.rows.length, 0), kind = by("f-kind").value;
    const what = kind === "all" ? "" : kind + " ";
    by("count").textContent = answers.toLocaleString("en") + " " + what + "answer" + (answers === 1 ? "" : "s") +
      " to " + found.length.toLocaleString("en") + " image" + (found.length === 1 ? "" : "s");
    more();
  }

  function suggest() {
    const question = by("f-question").value, seen = new Set();
    for (const image of data.images) for (const row of image[3])
      if (question === "" || row[0] === Number(question)) for (const at of [row[1], row[2]])
        if (at >= 0) for (const member of data.answers[at].split("; ")) seen.add(member);
    by("known").replaceChildren(...[...seen].sort().slice(0, 100).map((member) => {
      const option = make("option");
      option.value = member;
      return option;
    }));
  }

  const form = by("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { suggest(); update(); }));
  form.addEventListener("input", (event) => {
    if (event.target.id === "f-question") suggest();
    update();
  });
  by("more").addEventListener("click", () => {
    const first = more();
    if (first) first.querySelector("summary").focus();
  });
  form.hidden = false;
  suggest();
  update();
})();
