// The scene page. Data comes from #scene (JSON); every text goes through textContent, so a label is never markup.
// Frames: `world` holds everything in the camera frame of the JSON (x right, y down, z forward, metres), turned once for WebGL.
import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

const { scene: data, photo, colors, sentences } = JSON.parse(document.getElementById("scene").textContent);
const WORDS = {
  en: {
    fov: "Field of view", given: "As given", front: "From the camera", side: "From the side", photo: "Photograph", boxes: "Boxes",
    labels: "Labels", frustum: "Frustum", none: "Nothing was found.", perhaps: "perhaps: ", focal: "focal length", flat: "no 3D box",
    exif: "from the picture's EXIF data", user: "given by the user", estimated: "estimated", assumed: "assumed",
    webgl: "This browser shows no WebGL: the boxes cannot be drawn.", m: "m", widths: "widths", sizes: "sizes", spans: "spans",
    rests: "{a} rests on {b}",
  },
  zh: {
    fov: "视场角", given: "恢复给定值", front: "相机视角", side: "侧面视角", photo: "照片", boxes: "边界框", labels: "标签", frustum: "视锥",
    none: "没有找到物体。", perhaps: "可能:", focal: "焦距", flat: "无3D框", exif: "来自图片的EXIF", user: "由用户提供", estimated: "估计值",
    assumed: "假设值", webgl: "此浏览器不支持WebGL,无法绘制边界框。", m: "米", widths: "倍宽度", sizes: "倍大小", spans: "倍间距",
    rests: "{b}支撑着{a}",
  },
};
const language = (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
const say = { ...sentences[language], ...WORDS[language] };
const filled = (sentence, a, b) => sentence.replace(/\{([ab])\}/g, (_, which) => (which === "a" ? a : b));
const $ = (id) => document.getElementById(id);
document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
for (const element of document.querySelectorAll("[data-say]")) element.textContent = say[element.dataset.say];
$("name").textContent = data.picture.name;
$("model").textContent = [data.model, data.note].filter(Boolean).join(" · ");

const { fx, fy, cx, cy, width, height } = data.camera;
const dark = matchMedia("(prefers-color-scheme: dark)");
const degrees = (focal) => (2 * Math.atan(width / 2 / focal) * 180) / Math.PI;
let focal = fx; // along x; pixels keep their shape, so fy follows it
let following = true; // the view stands in the photograph's camera until it is moved
let chosen = -1;

// --- what is there -------------------------------------------------------------------------------------------------------
const stage = new THREE.Scene();
const world = new THREE.Group();
world.rotation.x = Math.PI; // y down, z forward → y up, z towards the viewer
stage.add(world);

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
    made.line = new THREE.LineSegments(new THREE.EdgesGeometry(solid), new THREE.LineBasicMaterial({ color: made.color }));
    made.hull = new THREE.Mesh(
      solid,
      new THREE.MeshBasicMaterial({ color: made.color, transparent: true, opacity: 0.16, depthWrite: false, side: THREE.DoubleSide }),
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

const backdrop = new THREE.Mesh(
  new THREE.PlaneGeometry(1, 1),
  new THREE.MeshBasicMaterial({ color: 0xffffff, side: THREE.DoubleSide, toneMapped: false, depthWrite: false }),
);
backdrop.rotation.x = Math.PI; // the plane's top is the picture's top
backdrop.renderOrder = -1;
const frustum = new THREE.LineSegments(new THREE.BufferGeometry(), new THREE.LineBasicMaterial());
world.add(backdrop, frustum);

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
  $("degrees").textContent = `${degrees(focal).toFixed(1)}°`;
  $("camera").textContent = `${say.focal} ${focal.toFixed(0)} px` + (focal === fx ? ` · ${say[data.camera.source]}` : "");
  list();
  if (chosen >= 0) choose(chosen);
  if (following) fit();
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
  const name = (id) => objects[id].object.name;
  for (const { subject, relation, objects: others, holds, margin } of data.relations) {
    if (subject !== i && !(others.includes(i) && others.length === 1)) continue;
    const text = filled(say[relation], name(subject), name(others[0]));
    const measured = margin.unit === "m" && focal !== fx ? "" : ` (${margin.value.toFixed(2)} ${say[margin.unit]})`; // metres of the given camera
    lines.push(`${holds ? "" : say.perhaps}${text}${measured}`);
  }
  for (const { object, on } of data.supports) if (object === i || on === i) lines.push(filled(say.rests, name(object), name(on)));
  $("relations").replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  entries.forEach(({ button }, k) => button.setAttribute("aria-pressed", String(k === i)));
  objects.forEach((made, k) => {
    if (made.hull) made.hull.material.opacity = k === i ? 0.42 : 0.16;
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
function fit() {
  const wide = innerWidth > 760;
  const panel = wide ? [314, 0] : [0, innerHeight * 0.45 + 24]; // its share of the window's left and bottom
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
  frustum.material.color.set(dark.matches ? 0x9fb4d8 : 0x3b4f74);
  renderer.render(stage, eye);
  tags();
}

function tags() {
  const shown = $("labels").checked;
  const point = new THREE.Vector3();
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
    made.tag.style.transform = `translate(${left.toFixed(1)}px, calc(${top.toFixed(1)}px - 100% - 2px))`;
  }
}

function resize() {
  if (!renderer) return;
  renderer.setPixelRatio(Math.min(devicePixelRatio || 1, 2));
  renderer.setSize(innerWidth, innerHeight);
  if (following) fit();
  else {
    eye.aspect = innerWidth / innerHeight;
    eye.clearViewOffset();
    eye.updateProjectionMatrix();
  }
  draw();
}

function fromSide() {
  following = false;
  const far = middle();
  eye.clearViewOffset();
  eye.fov = 45;
  eye.aspect = innerWidth / innerHeight;
  eye.position.set(depth * 1.1, depth * 0.9, depth * 0.35);
  controls?.target.set(0, 0, -far * 0.75);
  controls?.update();
  eye.updateProjectionMatrix();
  draw();
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
$("front").onclick = () => { following = true; fit(); draw(); };
$("side").onclick = fromSide;
for (const id of ["photo", "boxes", "labels", "frustum"]) $(id).onchange = draw;
controls?.addEventListener("start", () => { following = false; });
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
if (location.hash === "#view=side") fromSide();
