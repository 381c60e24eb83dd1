// The scene page. Data comes from #scene (JSON); every text goes through textContent, so a label is never markup.
// Frames: `world` holds everything in the camera frame of the JSON (x right, y down, z forward, metres), turned once for WebGL.
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

const { scene: data, photo, colors, sentences } = JSON.parse(document.getElementById("scene").textContent);
const WORDS = {
  en: {
    fov: "Field of view", given: "As given", front: "Camera", side: "Side", photo: "Photograph", boxes: "Boxes",
    labels: "Labels", frustum: "Frustum", none: "Nothing was found.", perhaps: "perhaps: ", focal: "focal length", flat: "no 3D box",
    exif: "from the picture's EXIF data", user: "given by the user", estimated: "estimated", assumed: "assumed",
    webgl: "This browser shows no WebGL: the boxes cannot be drawn.", m: "m", widths: "widths", sizes: "sizes", spans: "spans",
    rests: "{a} rests on {b}", plan: "Seen from above", height: "camera {m} m up", apart: "{a} and {b}: {m} m apart",
  },
  zh: {
    fov: "视场角", given: "给定值", front: "相机视角", side: "侧视", photo: "照片", boxes: "边界框", labels: "标签", frustum: "视锥",
    none: "没有找到物体。", perhaps: "可能:", focal: "焦距", flat: "无3D框", exif: "来自图片的EXIF", user: "由用户提供", estimated: "估计值",
    assumed: "假设值", webgl: "此浏览器不支持WebGL,无法绘制边界框。", m: "米", widths: "倍宽度", sizes: "倍大小", spans: "倍间距",
    rests: "{b}支撑着{a}", plan: "俯视图", height: "相机高{m}米", apart: "{a}与{b}相距{m}米",
  },
};
const language = (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
const say = { ...sentences[language], ...WORDS[language] };
const filled = (sentence, a, b) => sentence.replace(/\{([ab])\}/g, (_, which) => (which === "a" ? a : b));
const $ = (id) => document.getElementById(id);
document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
for (const element of document.querySelectorAll("[data-say]")) element.textContent = say[element.dataset.say];
$("name").textContent = data.picture.name;
$("model").textContent = data.model;
$("note").textContent = data.note || "";

const { fx, fy, cx, cy, width, height } = data.camera;
const dark = matchMedia("(prefers-color-scheme: dark)");
const degrees = (focal) => (2 * Math.atan(width / 2 / focal) * 180) / Math.PI;
let focal = fx; // along x; pixels keep their shape, so fy follows it
let view = "front"; // the photograph's camera; or from the "side", or "free" once it is moved by hand
let chosen = -1;

// --- what is there -------------------------------------------------------------------------------------------------------
const stage = new THREE.Scene();
const world = new THREE.Group();
world.rotation.x = Math.PI; // y down, z forward → y up, z towards the viewer
stage.add(world);

// The twelve edges as thin bars: WebGL's own lines are one pixel wide on every screen.
function edges(xs, ys, zs, color) {
  const bars = new THREE.Group();
  const material = new THREE.MeshBasicMaterial({ color });
  const size = [xs, ys, zs];
  for (let axis = 0; axis < 3; axis++) {
    for (const [one, two] of [[-1, -1], [-1, 1], [1, -1], [1, 1]]) {
      const bar = new THREE.Mesh(BAR, material);
      const [b, c] = [(axis + 1) % 3, (axis + 2) % 3];
      bar.position.setComponent(b, (one * size[b]) / 2).setComponent(c, (two * size[c]) / 2);
      bar.userData = { axis, long: size[axis] };
      bars.add(bar);
    }
  }
  return bars;
}
const BAR = new THREE.BoxGeometry(1, 1, 1);

const objects = data.objects.map((object, i) => {
  const made = { object, color: colors[i % colors.length], group: new THREE.Group(), tag: document.createElement("span") };
  made.tag.textContent = object.name;
  made.tag.style.background = made.color;
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(made.color.slice(at, at + 2), 16));
  made.tag.style.color = 0.299 * red + 0.587 * green + 0.114 * blue > 150 ? "#111" : "#fff";
  $("tags").append(made.tag);
  if (object.box_3d) {
    const [x, y, z, xs, ys, zs, a, b, c] = object.box_3d;
    const solid = new THREE.BoxGeometry(xs, ys, zs);
    made.line = edges(xs, ys, zs, made.color);
    made.hull = new THREE.Mesh(
      solid,
      new THREE.MeshBasicMaterial({ color: made.color, transparent: true, opacity: 0.14, depthWrite: false, side: THREE.DoubleSide }),
    );
    made.group.add(made.line, made.hull);
    made.group.rotation.set(a * Math.PI, b * Math.PI, c * Math.PI, "ZYX"); // Rz · Ry · Rx of half-turns
    made.center = [x, y, z];
    made.radius = Math.hypot(xs, ys, zs) / 2;
    made.half = [xs / 2, ys / 2, zs / 2];
  } else {
    // Only its place in the picture is known: a frame on the photograph.
    made.line = new THREE.LineLoop(new THREE.BufferGeometry(), new THREE.LineBasicMaterial({ color: made.color }));
    made.group.add(made.line);
  }
  world.add(made.group);
  return made;
});
const deep = objects.filter((made) => made.center);
const { layout } = data;

const backdrop = new THREE.Mesh(
  new THREE.PlaneGeometry(1, 1),
  new THREE.MeshBasicMaterial({ color: 0xffffff, side: THREE.DoubleSide, toneMapped: false, depthWrite: false }),
);
backdrop.rotation.x = Math.PI; // the plane's top is the picture's top
backdrop.renderOrder = -1;
const frustum = new THREE.LineSegments(new THREE.BufferGeometry(), new THREE.LineBasicMaterial());
const grid = new THREE.LineSegments(new THREE.BufferGeometry(), new THREE.LineBasicMaterial({ transparent: true, opacity: 0.3 }));
world.add(backdrop, frustum, grid);

// --- the camera's field of view: X and Y stay, depth scales with the focal length ---------------------------------------------
let depth = 1; // of the backdrop
function place() {
  const scale = focal / fx;
  const focalY = fy * scale;
  for (const made of deep) made.group.position.set(made.center[0], made.center[1], made.center[2] * scale);
  depth = 1.1 * Math.max(...deep.map((made) => made.center[2] * scale + made.radius), 1e-3);
  if (!deep.length) depth = scale;
  const at = (px, py) => [((px - cx) / focal) * depth, ((py - cy) / focalY) * depth, depth];
  backdrop.position.set(...at(width / 2, height / 2));
  backdrop.scale.set((width / focal) * depth, (height / focalY) * depth, 1);
  const corners = [at(0, 0), at(width, 0), at(width, height), at(0, height)];
  const edges = corners.flatMap((corner, i) => [[0, 0, 0], corner, corner, corners[(i + 1) % 4]]);
  frustum.geometry.setAttribute("position", new THREE.Float32BufferAttribute(edges.flat(), 3));
  frustum.geometry.computeBoundingSphere();
  for (const made of objects) {
    if (made.center) continue;
    const [x1, y1, x2, y2] = made.object.box_px;
    const frame = [at(x1, y1), at(x2, y1), at(x2, y2), at(x1, y2)].map(([x, y, z]) => [x * 0.999, y * 0.999, z * 0.999]);
    made.line.geometry.setAttribute("position", new THREE.Float32BufferAttribute(frame.flat(), 3));
    made.line.geometry.computeBoundingSphere();
    made.top = frame[0];
  }
  if (layout) floor(scale);
  const thick = 0.0016 * middle(); // two pixels or so
  for (const made of deep) {
    for (const bar of made.line.children) {
      bar.scale.setScalar(thick).setComponent(bar.userData.axis, bar.userData.long + thick);
    }
  }
  $("degrees").textContent = `${degrees(focal).toFixed(1)}°`;
  $("camera").textContent = `${say.focal} ${focal.toFixed(0)} px` + (focal === fx ? ` · ${say[data.camera.source]}` : "");
  list();
  if (chosen >= 0) choose(chosen);
  stand();
}

// A grid on the ground, under everything and a little beyond, and the plan of it in the panel.
function floor(scale) {
  const { up, right, forward, offset_m: offset } = layout.ground;
  const stretch = (made) => made.center[2] * (scale - 1); // boxes keep their turn and size: their middles move along z
  const moved = deep.map(stretch).sort((a, b) => a - b)[deep.length >> 1];
  const height = offset + moved * up[2];
  const shapes = layout.objects.map(({ object, footprint_m: corners }) => {
    const shift = stretch(objects[object]);
    return { object, corners: corners.map(([x, y]) => [x + shift * right[2], y + shift * forward[2]]) };
  });
  const every = shapes.flatMap(({ corners }) => corners);
  const span = (k) => [Math.min(...every.map((p) => p[k])), Math.max(...every.map((p) => p[k]))];
  const [[left, east], [near, far]] = [span(0), span(1)];
  const step = niceStep(Math.max(east - left, far - near) / 8);
  const [x1, x2, y1, y2] = [Math.floor(left / step - 1), Math.ceil(east / step + 1), Math.floor(near / step - 1), Math.ceil(far / step + 1)];
  const at = (x, y) => up.map((u, k) => u * height + right[k] * x * step + forward[k] * y * step);
  const lines = [];
  for (let x = x1; x <= x2; x++) lines.push(...at(x, y1), ...at(x, y2));
  for (let y = y1; y <= y2; y++) lines.push(...at(x1, y), ...at(x2, y));
  grid.geometry.setAttribute("position", new THREE.Float32BufferAttribute(lines, 3));
  grid.geometry.computeBoundingSphere();
  plan(shapes, [left, east, near, far], step, -height, right, forward);
}

function niceStep(length) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(length, 1e-6)));
  return ten * [1, 2, 5, 10].find((k) => k * ten >= length);
}

function shape(name, attributes, parent) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function plan(shapes, [left, east, near, far], step, height, right, forward) {
  const [low, top] = [Math.min(0, near), far]; // from the camera's feet to the farthest thing
  const pad = 0.04 * Math.max(east - left, top - low);
  const [tall, y0] = [top - low + 3 * pad, -top - pad];
  const spread = Math.max(east, 0) - Math.min(left, 0) + 2 * pad;
  const wide = Math.max(spread, 1.4 * tall); // as wide as the panel
  const x0 = Math.min(left, 0) - pad - (wide - spread) / 2;
  const pen = wide / 150;
  const title = document.createElement("h2");
  const room = layout.room_type === "unknown" ? "" : ` · ${say[layout.room_type] || layout.room_type}`;
  title.append(say.plan + room, Object.assign(document.createElement("small"), { textContent: say.height.replace("{m}", height.toFixed(2)) }));
  const box = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  box.setAttribute("viewBox", [x0, y0, wide, tall].join(" "));
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", say.plan);
  const soft = { stroke: "currentColor", "stroke-opacity": 0.13, "stroke-width": pen * 0.5, fill: "none" };
  for (let x = Math.ceil(x0 / step); x * step < x0 + wide; x++) shape("path", { ...soft, d: `M${x * step} ${y0}v${tall}` }, box);
  for (let y = Math.ceil(y0 / step); y * step < y0 + tall; y++) shape("path", { ...soft, d: `M${x0} ${y * step}h${wide}` }, box);
  const rays = [0, width].map((px) => [(px - cx) / focal, 0, 1]).map((ray) => {
    const [x, y] = [right, forward].map((axis) => axis.reduce((sum, value, k) => sum + value * ray[k], 0));
    const far = (top + 2 * pad) / Math.max(y, 1e-3);
    return [x * far, -y * far];
  });
  shape("path", { d: `M0 0L${rays[0]}L${rays[1]}Z`, fill: "var(--mark)", "fill-opacity": 0.08, stroke: "var(--mark)", "stroke-opacity": 0.45, "stroke-width": pen * 0.6 }, box);
  for (const { object, corners } of shapes) {
    const { color } = objects[object];
    const one = shape("polygon", { points: corners.map(([x, y]) => [x, -y]).join(" "), fill: color, "fill-opacity": object === chosen ? 0.8 : 0.4, stroke: color, "stroke-width": pen, style: "cursor:pointer" }, box);
    shape("title", {}, one).textContent = objects[object].object.name;
    one.addEventListener("click", () => choose(chosen === object ? -1 : object));
    objects[object].footprint = one;
  }
  shape("circle", { r: pen * 2.6, fill: "var(--mark)" }, box);
  const ruler = shape("path", { d: `M${x0 + pad} ${y0 + tall - pad}h${step}`, stroke: "currentColor", "stroke-width": pen * 1.2 }, box);
  ruler.setAttribute("stroke-opacity", 0.7);
  const length = shape("text", { x: x0 + pad + step + 2 * pen, y: y0 + tall - pad + 2 * pen, "font-size": pen * 6.5, fill: "currentColor", "fill-opacity": 0.7 }, box);
  length.textContent = step < 1 ? `${Math.round(step * 100)} cm` : `${step} m`;
  $("plan").replaceChildren(title, box);
}

// --- the list -----------------------------------------------------------------------------------------------------------------
const entries = objects.map((made, i) => {
  const button = document.createElement("button");
  const [swatch, name, far] = ["i", "b", "small"].map((tag) => document.createElement(tag));
  swatch.style.background = made.color;
  name.textContent = made.object.name;
  button.append(swatch, name, far);
  button.onclick = () => choose(chosen === i ? -1 : i);
  const item = document.createElement("li");
  item.append(button);
  $("objects").append(item);
  return { button, far };
});
if (!objects.length) $("objects").textContent = say.none;

function list() {
  objects.forEach((made, i) => {
    entries[i].far.textContent = made.center ? `${((made.center[2] * focal) / fx).toFixed(2)} m` : say.flat;
  });
}

function choose(i) {
  chosen = i;
  const lines = [];
  const stands = layout?.objects.find(({ object }) => object === i);
  if (stands) lines.push(say[stands.place] || stands.place);
  const name = (id) => objects[id].object.name;
  for (const { subject, relation, objects: others, holds, margin } of data.relations) {
    if (subject !== i && !(others.includes(i) && others.length === 1)) continue;
    const text = filled(say[relation], name(subject), name(others[0]));
    const measured = margin.unit === "m" && focal !== fx ? "" : ` (${margin.value.toFixed(2)} ${say[margin.unit]})`; // metres of the given camera
    lines.push(`${holds ? "" : say.perhaps}${text}${measured}`);
  }
  for (const { objects: pair, distance_m: apart } of layout && focal === fx ? layout.neighbours : []) {
    if (pair.includes(i)) lines.push(filled(say.apart, ...pair.map(name)).replace("{m}", apart.toFixed(2)));
  }
  for (const { object, on } of data.supports) if (object === i || on === i) lines.push(filled(say.rests, name(object), name(on)));
  $("relations").replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  entries.forEach(({ button }, k) => button.setAttribute("aria-pressed", String(k === i)));
  objects.forEach((made, k) => {
    if (made.hull) made.hull.material.opacity = k === i ? 0.42 : 0.14;
    made.footprint?.setAttribute("fill-opacity", k === i ? 0.8 : 0.4);
  });
  draw();
}

// --- the view -----------------------------------------------------------------------------------------------------------------
let renderer = null;
try {
  renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true, preserveDrawingBuffer: true });
} catch {
  $("fault").textContent = document.documentElement.dataset.fault = say.webgl;
}
const eye = new THREE.PerspectiveCamera(50, 1, 0.001, 1e4);
const controls = renderer && new OrbitControls(eye, renderer.domElement);

function middle() {
  const depths = deep.map((made) => (made.center[2] * focal) / fx).sort((a, b) => a - b);
  return depths.length ? depths[depths.length >> 1] : depth * 0.8;
}

// The photograph beside the panel where there is room for both, else above it.
function panelled() {
  return innerWidth > 760 ? [328, 0] : [0, innerHeight * 0.46]; // the panel's share of the window's left and bottom
}

function fit() {
  const panel = panelled();
  const room = { width: innerWidth - panel[0], height: innerHeight - panel[1] };
  const pixels = Math.min((room.width * 0.94) / width, (room.height * 0.94) / height); // of the window, for one of the picture
  eye.aspect = innerWidth / innerHeight;
  eye.fov = (2 * Math.atan(innerHeight / 2 / (((fy * focal) / fx) * pixels)) * 180) / Math.PI;
  const [x, y] = [(width / 2 - cx) * pixels - panel[0] / 2, (height / 2 - cy) * pixels + panel[1] / 2];
  eye.setViewOffset(innerWidth, innerHeight, x, y, innerWidth, innerHeight);
  eye.up.set(0, 1, 0);
  eye.position.set(0, 0, 0);
  if (controls) {
    controls.target.set(0, 0, -middle());
    controls.update();
  }
  eye.updateProjectionMatrix();
}

function draw() {
  if (!renderer) return;
  backdrop.visible = $("photo").checked;
  frustum.visible = $("frustum").checked;
  for (const made of objects) made.group.visible = $("boxes").checked;
  grid.visible = frustum.visible && view !== "front"; // over the photograph it would be in the way
  for (const lines of [frustum, grid]) lines.material.color.set(dark.matches ? 0x9fb4d8 : 0x3b4f74);
  renderer.render(stage, eye);
  tags();
}

// A label stands over its box's upper left corner; where that is taken, over or under what is there already.
function tags() {
  const shown = $("labels").checked;
  const point = new THREE.Vector3();
  const taken = [];
  const [panelLeft, panelBottom] = panelled();
  for (const made of objects) {
    let [left, top, seen] = [Infinity, Infinity, true];
    for (let k = 0; k < (made.half ? 8 : 1); k++) {
      if (made.half) point.set(...made.half.map((h, axis) => ((k >> axis) & 1 ? h : -h))).applyMatrix4(made.group.matrixWorld);
      else point.set(...made.top).applyMatrix4(world.matrixWorld);
      seen &&= point.clone().applyMatrix4(eye.matrixWorldInverse).z < -1e-3;
      point.project(eye);
      left = Math.min(left, ((point.x + 1) / 2) * innerWidth);
      top = Math.min(top, ((1 - point.y) / 2) * innerHeight);
    }
    made.tag.hidden = !(shown && seen);
    made.tag.style.display = made.tag.hidden ? "none" : "";
    if (made.tag.hidden) continue;
    const [wide, tall] = [made.tag.offsetWidth, made.tag.offsetHeight];
    const free = (y) => !taken.some((other) => left < other.right && other.left < left + wide && y < other.bottom && other.top < y + tall);
    const steps = [0, -1, 1, -2, 2, -3, 3].map((step) => top - tall - 2 + step * (tall + 1));
    const y = steps.find((at) => at >= 0 && at + tall <= innerHeight - panelBottom && free(at)) ?? steps[0];
    taken.push({ left, top: y, right: left + wide, bottom: y + tall });
    made.tag.style.transform = `translate(${left.toFixed(1)}px, ${y.toFixed(1)}px)`;
    // Inside the window as far as may be, without hiding where the box begins.
    made.tag.style.marginLeft = `${Math.max(Math.min(0, innerWidth - 4 - left - wide), panelLeft ? -40 : -left)}px`;
  }
}

function resize() {
  if (!renderer) return;
  renderer.setPixelRatio(Math.min(devicePixelRatio || 1, 2));
  renderer.setSize(innerWidth, innerHeight);
  stand();
  draw();
}

// From the right and above, as near as the whole frustum fits into the room beside the panel.
function fromSide() {
  const [panelLeft, panelBottom] = panelled();
  const room = [(innerWidth - panelLeft) * 0.92, (innerHeight - panelBottom) * 0.92];
  const whole = new THREE.Box3().setFromObject(frustum).getBoundingSphere(new THREE.Sphere());
  const corners = [...Array(frustum.geometry.attributes.position.count).keys()]
    .map((k) => new THREE.Vector3().fromBufferAttribute(frustum.geometry.attributes.position, k).applyMatrix4(frustum.matrixWorld));
  const target = whole.center.clone();
  let far = whole.radius * 4;
  eye.fov = 40;
  const pixels = innerHeight / 2 / Math.tan((eye.fov * Math.PI) / 360); // at a distance of one
  for (let k = 0; k < 12; k++) {
    eye.position.set(0.78, 0.5, 0.38).normalize().multiplyScalar(far).add(target);
    eye.lookAt(target);
    eye.updateMatrixWorld();
    const seen = corners.map((corner) => corner.clone().applyMatrix4(eye.matrixWorldInverse)).map(({ x, y, z }) => [x / -z, y / -z]);
    const [across, up] = [0, 1].map((axis) => seen.map((point) => point[axis])).map((at) => [Math.min(...at), Math.max(...at)]);
    target.add(new THREE.Vector3((across[0] + across[1]) / 2, (up[0] + up[1]) / 2, 0).multiplyScalar(far).applyQuaternion(eye.quaternion));
    far *= Math.max(((across[1] - across[0]) * pixels) / room[0], ((up[1] - up[0]) * pixels) / room[1]) ** 0.6;
  }
  eye.position.set(0.78, 0.5, 0.38).normalize().multiplyScalar(far).add(target);
  controls?.target.copy(target);
  controls?.update();
  aside();
}

function stand() {
  if (view === "front") fit();
  else if (view === "side") fromSide();
  else aside();
}

function look(from) {
  view = from;
  stand();
  draw();
}

// What is looked at stands in the middle of the room that the panel leaves.
function aside() {
  const panel = panelled();
  eye.aspect = innerWidth / innerHeight;
  eye.setViewOffset(innerWidth, innerHeight, -panel[0] / 2, panel[1] / 2, innerWidth, innerHeight);
  eye.updateProjectionMatrix();
}

const slider = $("fov");
slider.min = Math.min(10, degrees(fx) * 0.6).toFixed(1);
slider.max = Math.min(170, Math.max(120, degrees(fx) * 1.2)).toFixed(1);
function turn(to) {
  focal = to;
  slider.value = degrees(focal);
  place();
  draw();
}
slider.oninput = () => {
  focal = width / 2 / Math.tan((slider.valueAsNumber * Math.PI) / 360);
  place();
  draw();
};
$("given").onclick = () => turn(fx);
$("front").onclick = () => look("front");
$("side").onclick = () => look("side");
for (const id of ["photo", "boxes", "labels", "frustum"]) $(id).onchange = draw;
controls?.addEventListener("start", () => { view = "free"; });
controls?.addEventListener("change", draw);
dark.addEventListener("change", draw);
addEventListener("resize", resize);
if (renderer) $("view").append(renderer.domElement);

turn(fx);
resize();
new THREE.TextureLoader().load(
  photo,
  (texture) => {
    texture.colorSpace = THREE.SRGBColorSpace;
    backdrop.material.map = texture;
    backdrop.material.needsUpdate = true;
    draw();
    document.documentElement.dataset.ready = String(objects.length);
  },
);
const wanted = new URLSearchParams(location.hash.slice(1)); // #view=side&fov=80&object=2
if (wanted.has("fov")) {
  slider.value = wanted.get("fov");
  slider.oninput();
}
if (objects[wanted.get("object")] !== undefined) choose(Number(wanted.get("object")));
if (wanted.get("view") === "side") look("side");
