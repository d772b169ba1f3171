// Filters and shows the gallery. Text from files is only set as textContent, never as HTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 48;
  const element = (id) => document.getElementById(id);
  const members = (index) => index < 0 ? ["no answer"] : data.answers[index];
  const folded = data.answers.map((answer) => answer.join("; ").toLowerCase());
  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  };
  // A row is [question, gold, given, probability in thousandths, wrong, map]; answers are indices, -1 is none, and
  // not every row has a map.
  const probability = (row) => row[3] < 0 ? "" : ` (${(row[3] / 1000).toFixed(2)})`;
  let found = [], shown = 0;

  function matchingImages() {
    const fold = element("f-fold").value, kind = element("f-kind").value, question = element("f-question").value;
    const words = element("f-answer").value.trim().toLowerCase(), range = element("f-confidence").value;
    const [low, high] = range ? range.split("-").map((bound) => 1000 * bound) : [-1, 2000];
    const contains = (index) => index >= 0 ? folded[index].includes(words) : "no answer".includes(words);
    const fits = (row) =>
      (kind === "all" || (row[4] === 1) === (kind === "wrong")) &&
      (question === "" || row[0] === Number(question)) &&
      (!range || (row[3] >= low && (row[3] < high || high === 1000))) &&
      (!words || contains(row[1]) || contains(row[2]));
    const highest = (rows) => Math.max(...rows.map((row) => row[3]));
    const lowest = (rows) => Math.min(...rows.map((row) => row[3]));
    const order = {
      sure: (one, other) => highest(other.rows) - highest(one.rows),
      unsure: (one, other) => lowest(one.rows) - lowest(other.rows),
      many: (one, other) => other.rows.length - one.rows.length,
    }[element("f-order").value];
    return data.images
      .filter((image) => fold === "" || image[0] === Number(fold))
      .map((image) => ({ image, rows: image[3].filter(fits) }))
      .filter((each) => each.rows.length)
      .sort(order);
  }

  // Members that the other set lacks are marked, unless no member is shared.
  function answerNode(index, other, className) {
    const node = make("span", undefined, className), shared = members(index).some((each) => members(other).includes(each));
    members(index).forEach((member, at) => {
      if (at) node.append("; ");
      node.append(shared && !members(other).includes(member) ? make("mark", member) : member);
    });
    if (shared) node.classList.add("compared");
    return node;
  }

  function answerItem(row, thumbnail) {
    const item = make("li", undefined, row[4] ? "wrong" : "right"), [, gold, given, , wrong] = row;
    const more = (one, other) => members(one).filter((member) => !members(other).includes(member)).length;
    item.append(make("span", data.questions[row[0]], "q"), make("span", "given ", "soft"));
    item.append(wrong ? answerNode(given, gold, "given") : make("span", members(given).join("; "), "given"));
    item.append(make("span", probability(row) + (wrong ? "" : ", right"), "soft"));
    if (wrong) item.append(make("br"), make("span", "gold ", "soft"), answerNode(gold, given, "gold"));
    if (wrong && members(gold).length + members(given).length > 4) {
      const counts = [[more(gold, given), "missing"], [more(given, gold), "too many"]].filter(([count]) => count);
      item.append(make("span", ` (${counts.map((each) => each.join(" ")).join(", ")})`, "soft"));
    }
    if (row.length > 5 && thumbnail) item.append(heatMap(data.maps[row[5]], thumbnail));
    return item;
  }

  // The map is a picture with a pixel for each cell; stretched over the thumbnail, the browser smooths it.
  function heatMap([map, place], thumbnail) {
    const figure = make("figure", undefined, "heat"), stack = make("span", undefined, "stack");
    const pictures = [["data:image/jpeg;base64,", thumbnail], ["data:image/png;base64,", map]].map(([type, content]) => {
      const picture = make("img");
      picture.alt = "";
      picture.src = type + content;
      return picture;
    });
    stack.append(...pictures);
    stack.setAttribute("role", "img");
    stack.setAttribute("aria-label", "Heat map of the given answer over the image, highest at " + place);
    figure.append(stack, make("figcaption", "highest at " + place));
    return figure;
  }

  function allAnswers(image) {
    const list = make("ul");
    image[3].forEach((row) => list.append(answerItem(row, image[2])));
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
    } else figure.append(make("div", "no thumbnail", "blank"));
    const caption = make("figcaption");
    caption.append(make("code", image[1]));
    if (data.folds.length > 1) caption.append(make("span", data.folds[image[0]], "soft"));
    figure.append(caption);
    const list = make("ul");
    rows.forEach((row) => list.append(answerItem(row, image[2])));
    const details = make("details");
    details.append(make("summary", "All " + image[3].length + " answers"));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(allAnswers(image));
    });
    article.append(figure, list, details);
    item.append(article);
    return item;
  }

  function showMore() {
    const next = found.slice(shown, shown + PAGE).map(card);
    element("cards").append(...next);
    shown += next.length;
    const left = found.length - shown;
    element("more").hidden = left === 0;
    element("more").textContent = "Show " + Math.min(PAGE, left) + " more of " + left.toLocaleString("en");
    return next[0];
  }

  function update() {
    found = matchingImages();
    shown = 0;
    element("cards").replaceChildren();
    const answers = found.reduce((sum, each) => sum + each.rows.length, 0), kind = element("f-kind").value;
    const what = kind === "all" ? "" : kind + " ";
    element("count").textContent = answers.toLocaleString("en") + " " + what + "answer" + (answers === 1 ? "" : "s") +
      " to " + found.length.toLocaleString("en") + " image" + (found.length === 1 ? "" : "s");
    showMore();
  }

  function suggestAnswers() {
    const question = element("f-question").value, seen = new Set();
    for (const image of data.images) for (const row of image[3])
      if (question === "" || row[0] === Number(question)) for (const at of [row[1], row[2]])
        if (at >= 0) for (const member of data.answers[at]) seen.add(member);
    element("known").replaceChildren(...[...seen].sort().slice(0, 100).map((member) => {
      const option = make("option");
      option.value = member;
      return option;
    }));
  }

  const showMaps = () => element("cards").classList.toggle("maps", Boolean(element("f-maps")?.checked));
  const form = element("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { showMaps(); suggestAnswers(); update(); }));
  form.addEventListener("input", (event) => {
    if (event.target.id === "f-maps") return showMaps();
    if (event.target.id === "f-question") suggestAnswers();
    update();
  });
  element("more").addEventListener("click", () => {
    const first = showMore();
    if (first) first.querySelector("summary").focus();
  });
  form.hidden = false;
  showMaps();
  suggestAnswers();
  update();
})();
