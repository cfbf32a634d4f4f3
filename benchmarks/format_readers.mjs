// Exports in three.js and in glTF's validator; see format_readers.py beside this file.
//
//     npm install three gltf-validator
//     posemamba-live demo_videos/walk_turn.mp4 --headless \
//         --export walk.json --export walk.bvh --export walk.glb
//     node benchmarks/format_readers.mjs walk
//
// (from the folder of node_modules, or with a copy of this file there)
import fs from 'node:fs';
import * as THREE from 'three';
import validator from 'gltf-validator';
import { BVHLoader } from 'three/examples/jsm/loaders/BVHLoader.js';
import { GLTFLoader } from 'three/examples/jsm/loaders/GLTFLoader.js';

globalThis.self = globalThis;
globalThis.ProgressEvent = class {};

const BONES = {
  Hips: 0, RightUpLeg: 1, RightLeg: 2, RightFoot: 3, LeftUpLeg: 4, LeftLeg: 5, LeftFoot: 6,
  Spine1: 7, Neck: 8, Head: 9, LeftArm: 11, LeftForeArm: 12, LeftHand: 13, RightArm: 14,
  RightForeArm: 15, RightHand: 16,
};
const stem = process.argv[2];
const { frames } = JSON.parse(fs.readFileSync(`${stem}.json`, 'utf8'));

function compare(name, root, clip, find) {
  const mixer = new THREE.AnimationMixer(root);
  const action = mixer.clipAction(clip);
  action.setLoop(THREE.LoopOnce);
  action.clampWhenFinished = true;
  action.play();
  let most = 0, sum = 0, count = 0;
  for (const frame of frames) {
    mixer.setTime(frame.timestamp);
    root.updateMatrixWorld(true);
    for (const [bone, joint] of Object.entries(BONES)) {
      const at = find(bone).getWorldPosition(new THREE.Vector3());
      const [x, y, z] = frame.people[0].joints_world[joint];
      const error = 1000 * Math.hypot(at.x - x, at.y - z, at.z + y);
      most = Math.max(most, error);
      sum += error;
      count += 1;
    }
  }
  console.log(`${name}: ${frames.length} frames; ${most.toFixed(1)} mm at most, ` +
    `${(sum / count).toFixed(1)} mm on average`);
}

const glb = new Uint8Array(fs.readFileSync(`${stem}.glb`));
const { issues } = await validator.validateBytes(glb);
console.log(`glTF validator: ${issues.numErrors} errors, ${issues.numWarnings} warnings, ` +
  `${issues.numInfos} notes: ${[...new Set(issues.messages.map((m) => m.code))].join(', ')}`);

const model = await new GLTFLoader().parseAsync(glb.buffer, '');
compare('GLTFLoader', model.scene, model.animations[0], (bone) => model.scene.getObjectByName(bone));

const { skeleton, clip } = new BVHLoader().parse(fs.readFileSync(`${stem}.bvh`, 'utf8'));
compare('BVHLoader', skeleton.bones[0], clip, (bone) => skeleton.getBoneByName(bone));
